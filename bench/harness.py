"""Containers started in the benchmark's own process: the product's start path and nothing else.

Single starts are those of a machine that is not `alive`: there it takes beforehand what the next
instances will hold, while it has nothing else to do, and whether it has is what a figure tells.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any, Final, cast, final

import trio
from attrs import frozen

from anchor_supervisor.fleet.model import Fleet, InstanceId, instances
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs import strategies
from anchor_supervisor.runtime import bringup, holdings
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.site import open_site
from anchor_supervisor.runtime.sweep import sweep_locked
from arithmetic import ROUND, rounds
from floor import WARM_UP
from programs import said

FLEET: Final = """
[fleet]
name = "{name}"
limits = "best-effort"
[containers.one]
image = "{image}"
root = "{root}"
networks = {networks}
command = {command}
replicas = {count}
limits = {{ pids = 512 }}
restart = "no"
"""

PHASES: Final[dict[str, tuple[Any, str]]] = {
    "cgroup": (holdings, "make_cgroup"),
    "namespaces": (holdings, "create_sandbox"),
    "network": (holdings.Holdings, "join"),
    "root": (strategies, "assemble"),
    "view": (bringup, "open_view"),
    "exec": (bringup, "spawn"),
}
"""Where the time of a start goes: functions of the product that are timed from outside.

Each is entered once a start: a test counts. What is in none of them is the rest: threads, logs,
bookkeeping.
"""

SETTLED: Final = 0.05
"""Seconds after another's turn, for the kernel to take its namespaces apart."""


@final
@frozen
class Start:
    """One start, in seconds from the wish: command executed, first instruction, reaped."""

    executed: float
    first: float
    reaped: float


def fleet_of(
    image: object,
    count: int,
    *,
    root: str = "overlay",
    network: bool = True,
    command: Sequence[str] = ("/first",),
    name: str = "bench",
) -> Fleet:
    """A fleet of replicas of one program."""
    text = FLEET.format(
        name=name,
        image=image,
        root=root,
        networks='["default"]' if network else '"none"',
        command=list(command),
        count=count,
    )
    return loads(text, file=None, directory="/", environment={})


@contextmanager
def machine_of(fleet: Fleet) -> Iterator[HostMachine]:
    """A machine for the fleet's containers; at the end nothing of them is left."""
    with fleet_lock(places.fleet_run_dir(fleet.name), fleet.name):
        try:
            with open_site(fleet) as site:
                machine = HostMachine(site, _nobody)
                try:
                    yield machine
                finally:
                    machine.release()
        finally:
            sweep_locked(fleet.name)


def run_loop(act: Callable[[], Awaitable[None]]) -> None:
    """Run it; raise what went wrong by itself, and not in the groups that nurseries make."""
    try:
        trio.run(act)
    except BaseExceptionGroup as group:
        raise _first_of(group) from group


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


@asynccontextmanager
async def alive(machine: HostMachine) -> AsyncIterator[None]:
    """Let the machine do within the block what it does in a supervisor beside starting."""
    async with trio.open_nursery() as nursery:
        machine.attach(nursery)
        yield
        nursery.cancel_scope.cancel()


async def start_and_reap(machine: HostMachine, instance: InstanceId) -> Start:
    """Start `first`, which ends by itself, and see its end."""
    begun = time.monotonic_ns()
    run = await machine.start(instance)
    executed = time.monotonic_ns()
    await run.wait()
    reaped = time.monotonic_ns()
    first = int(said(machine.site.fleet.name, str(instance))[-1])
    return Start(*((moment - begun) / 1e9 for moment in (executed, first, reaped)))


async def start_each(
    machine: HostMachine,
    several: Sequence[InstanceId],
    *,
    width: int = 1,
    gap: float = 0.0,
    ready: bool = False,
) -> list[Start]:
    """Start all of them, `width` at a time; `gap` in seconds between those of one lane.

    Back to back some of the kernel's costs hide behind the last one's. `ready`: what each will
    hold is taken before its time begins, as a supervisor does while it has nothing else to do.
    """
    starts: list[Start] = []
    waiting = list(reversed(several))

    async def lane() -> None:
        while waiting:
            instance = waiting.pop()
            if ready:
                await trio.to_thread.run_sync(machine.get_ready, instance)
            await trio.sleep(gap)
            starts.append(await start_and_reap(machine, instance))

    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(lane)
    return starts


@final
class Fresh:
    """The instances of a machine that have not been started yet, in order."""

    def __init__(self, machine: HostMachine) -> None:
        """Begin with the first one."""
        self.machine = machine
        self._left = iter(instances(machine.site.fleet))

    async def start(
        self, count: int, *, width: int = 1, gap: float = 0.0, ready: bool = False
    ) -> list[Start]:
        """Start the next ones, and some more before that do not count, for the caches' sake."""
        await trio.sleep(SETTLED)
        for warming in islice(self._left, WARM_UP * width):
            await start_and_reap(self.machine, warming)
        several = list(islice(self._left, count))
        return await start_each(self.machine, several, width=width, gap=gap, ready=ready)


def instances_for(count: int, *, width: int = 1, size: int = ROUND) -> int:
    """How many replicas are needed to start `count` in rounds, with those that do not count."""
    return count + len(list(rounds(count, size))) * WARM_UP * width


@contextmanager
def phases() -> Iterator[dict[str, list[float]]]:
    """Time the parts of every start within the block; seconds by phase.

    Raises LookupError for a phase whose function the product does not have (any more).
    """
    spent: dict[str, list[float]] = {name: [] for name in PHASES}
    originals = {name: _function(name) for name in PHASES}
    for name, (where, what) in PHASES.items():
        setattr(where, what, _watched(originals[name], spent[name]))
    try:
        yield spent
    finally:
        for name, (where, what) in PHASES.items():
            setattr(where, what, originals[name])


def _function(phase: str) -> Callable[..., Any]:
    where, what = PHASES[phase]
    found = getattr(where, what, None)
    if found is None:
        message = f"phase `{phase}`: there is no `{what}` in `{where.__name__}`"
        raise LookupError(message)
    return cast("Callable[..., Any]", found)


def _watched(act: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def watched(*positional: object, **named: object) -> object:
        begun = time.perf_counter()
        try:
            return act(*positional, **named)
        finally:
            spent.append(time.perf_counter() - begun)

    return watched


def _nobody(_instance: InstanceId, _stream: str, _data: bytes) -> None:
    """Nobody listens."""
