"""What the kernel says of a container's memory and processor while it runs, told with its figures.

`oom`          processes were killed for memory; the container itself may go on
`memory-high`  it was above `memory_high`, and slowed down for that
`pressure`     its tasks waited for memory, more than 15 % of two seconds
`throttled`    it had used up its share of the processor, and waited for the next period

Nothing is polled: the kernel wakes us. A container that keeps it busy is looked at no more than ten
times a second and told of once in ten seconds a kind, with how often it was left out meanwhile.
Where the kernel lacks a controller, or does not keep the figures, there is nothing to wait for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, final

import trio
from attrs import asdict

from anchor_supervisor.fleet.model import InstanceId, Limits
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.cgroup_watch import CgroupWatch
from anchor_supervisor.kernel.stalls import Stall, StallTriggers, read_stall
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime.bounds import Bounds, Matter
from anchor_supervisor.values import define, field

OOM: Final = "oom"
HIGH: Final = "memory-high"
PRESSURE: Final = "pressure"
THROTTLED: Final = "throttled"

LOOK_EVERY: Final = 0.1  # seconds between two looks at the counts of one instance
MEMORY_STALL: Final = 300_000  # microseconds of a window of two seconds
CPU_STALL: Final = 200_000

EVENTS: Final = "memory.events"

Tell = Callable[[InstanceId, str, Mapping[str, object]], None]


@final
@define(eq=False)
class _Watched:
    """One instance: its group, what was seen of each count, and what was told of it."""

    cgroup: Cgroup
    limits: Limits
    followed: bool = False  # its memory.events
    seen: dict[str, int] = field(factory=dict)
    told: dict[str, int] = field(factory=dict)

    def grown(self, kind: str) -> bool:
        """Whether its count has grown since this was last asked."""
        now, before = self._count(kind), self.seen.get(kind, 0)
        self.seen[kind] = now
        return now > before

    def facts(self, kind: str) -> dict[str, object]:
        """The figures now; a count is of what has come since they were last given."""
        group = self.cgroup
        match kind:
            case "oom":
                limit, peak = group.read_number("memory.max"), group.memory_peak()
                return {"count": self._since(kind, self._count(kind)), "limit": limit, "peak": peak}
            case "memory-high":
                count = self._since(kind, self._count(kind))
                limit = group.read_number("memory.high")
                return {
                    "count": count,
                    "limit": limit,
                    "current": group.read_number("memory.current"),
                }
            case "pressure":
                return asdict(read_stall(group, "memory.pressure") or Stall())
            case _:
                counts = group.read_counts("cpu.stat")
                names = ("nr_throttled", "throttled_usec")
                return {name: self._since(name, counts.get(name, 0)) for name in names}

    def _count(self, kind: str) -> int:
        match kind:
            case "oom":
                return self.cgroup.memory_events().oom_kill
            case "memory-high":
                return self.cgroup.memory_events().high
            case "pressure":
                return (read_stall(self.cgroup, "memory.pressure") or Stall()).some_total
            case _:
                return self.cgroup.read_counts("cpu.stat").get("nr_throttled", 0)

    def _since(self, name: str, now: int) -> int:
        before, self.told[name] = self.told.get(name, 0), now
        return max(0, now - before)  # a group that is gone says 0


@final
@define(eq=False)
class PressureWatch:
    """Watches the instances it is given and calls `tell`; all on the loop's own thread."""

    tell: Tell
    _watched: dict[InstanceId, _Watched] = field(factory=dict, init=False)
    _instances: dict[Cgroup, InstanceId] = field(factory=dict, init=False)
    _bounds: Bounds = field(factory=Bounds, init=False)
    _looks: dict[InstanceId, float] = field(factory=dict, init=False)  # when to listen again
    _events: CgroupWatch | None = field(default=None, init=False)
    _triggers: StallTriggers[Matter] | None = field(default=None, init=False)
    _listening: trio.Event = field(factory=trio.Event, init=False)
    _closed: bool = field(default=False, init=False)
    _triggered: trio.Event = field(factory=trio.Event, init=False)
    _due: trio.Event = field(factory=trio.Event, init=False)

    def watch(self, instance: InstanceId, cgroup: Cgroup, limits: Limits) -> None:
        """Watch the group of an instance from its beginning; again after a start, or new limits.

        A group that was made anew meanwhile is another value, with the same path.
        """
        if self._closed:
            return  # the fleet ends while a start is under way
        known = self._watched.get(instance)
        if known is None or known.cgroup is not cgroup:
            self.forget(instance)
            known = self._watched[instance] = _Watched(cgroup, limits)
            self._instances[cgroup] = instance
        elif known.limits == limits:
            return
        known.limits = limits
        try:
            self._follow(instance, known)
        except OSError as error:  # too many are open
            log.warning("cannot watch for pressure", container=str(instance), why=str(error))

    def forget(self, instance: InstanceId) -> None:
        """Watch it no more: its group is about to go."""
        known = self._watched.pop(instance, None)
        if known is None:
            return
        del self._instances[known.cgroup]
        self._bounds.forget(instance)
        self._looks.pop(instance, None)
        if self._events is not None:
            self._events.discard(known.cgroup, EVENTS)
        if self._triggers is not None:
            for kind in (PRESSURE, THROTTLED):
                self._triggers.discard((instance, kind))

    async def run(self) -> None:
        """Watch until it is cancelled; then all that was opened is closed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_events, name="memory events")
                nursery.start_soon(self._follow_stalls, name="stalls")
                nursery.start_soon(self._tell_later, name="pressure left out")
        finally:
            self.close()

    def close(self) -> None:
        """Close all that was opened, and watch nobody from now on; a second time does nothing."""
        self._closed = True
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._triggers is not None:
            self._triggers.close()
            self._triggers = None

    def _follow(self, instance: InstanceId, known: _Watched) -> None:
        """Have the kernel wake us for what this instance's limits can make happen."""
        limits, group = known.limits, known.cgroup
        if not known.followed and group.has(EVENTS):
            if self._events is None:
                self._events = CgroupWatch()
                self._listening.set()
            known.followed = True
            self._look(instance)
        memory = limits.memory is not None or limits.memory_high is not None
        for kind, file, stall, wanted in (
            (PRESSURE, "memory.pressure", MEMORY_STALL, memory and group.has("memory.max")),
            (
                THROTTLED,
                "cpu.pressure",
                CPU_STALL,
                limits.cpus is not None and group.has("cpu.max"),
            ),
        ):
            if self._triggers is None and wanted:
                self._triggers = StallTriggers()
                self._triggered.set()
            if self._triggers is not None:
                self._triggers.discard((instance, kind))
                if wanted:
                    self._triggers.add((instance, kind), group, file, stall)

    async def _follow_events(self) -> None:
        await self._listening.wait()
        assert self._events is not None
        while True:
            await trio.lowlevel.wait_readable(self._events.fileno())
            for group in self._events.take_changed():
                instance = self._instances.get(group)
                if instance is not None:
                    # A group that meets its limit says so a hundred times a second.
                    self._events.discard(group, EVENTS)
                    self._looks[instance] = trio.current_time() + LOOK_EVERY
                    self._due.set()
                    self._news(instance, OOM, HIGH)

    async def _follow_stalls(self) -> None:
        await self._triggered.wait()
        assert self._triggers is not None
        limiter = trio.CapacityLimiter(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_the_wait, self._triggers)
            while True:
                fired = await trio.to_thread.run_sync(self._triggers.wait, limiter=limiter)
                for instance, kind in fired:
                    if instance in self._watched:
                        self._news(instance, kind)

    async def _end_the_wait(self, triggers: StallTriggers[Matter]) -> None:
        """The thread that waits must end before the task that waits for it can."""
        try:
            await trio.sleep_forever()
        finally:
            triggers.end()

    async def _tell_later(self) -> None:
        """Tell what was left out once it may be told; without any there is no wake-up."""
        while True:
            deadline = min(self._bounds.next_due(), min(self._looks.values(), default=math.inf))
            with trio.move_on_at(deadline):
                await self._due.wait()
            self._due = trio.Event()
            now = trio.current_time()
            for instance in [one for one, when in self._looks.items() if when <= now]:
                del self._looks[instance]
                self._look(instance)
            for (instance, kind), left_out in self._bounds.take_due(now):
                with _in_any_case(instance):
                    self._tell(instance, kind, left_out)

    def _look(self, instance: InstanceId) -> None:
        """Listen again, and look at what has happened before."""
        assert self._events is not None
        try:
            self._events.add(self._watched[instance].cgroup, EVENTS)
        except OSError:
            return  # the group is gone
        self._news(instance, OOM, HIGH)

    def _news(self, instance: InstanceId, *kinds: str) -> None:
        """Tell what has grown of these, or leave it out for now."""
        with _in_any_case(instance):
            self._compare(instance, kinds)

    def _compare(self, instance: InstanceId, kinds: Sequence[str]) -> None:
        known, now = self._watched[instance], trio.current_time()
        for kind in kinds:
            if not known.grown(kind):
                continue  # woken for something else: tasks that waited while others ran, say
            if self._bounds.admit((instance, kind), now):
                self._tell(instance, kind, 0)
            else:
                self._due.set()

    def _tell(self, instance: InstanceId, kind: str, left_out: int) -> None:
        facts = self._watched[instance].facts(kind)
        self.tell(instance, kind, {**facts, "left_out": left_out})


@contextmanager
def _in_any_case(instance: InstanceId) -> Iterator[None]:
    """Watch on where the figures cannot be read now: no descriptor is left, say."""
    try:
        yield
    except OSError as error:
        log.warning("cannot read what the kernel says", container=str(instance), why=str(error))
