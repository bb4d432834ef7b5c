"""The acting side: performs on this host what the core decides, one worker thread a start."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import final

import trio

from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.control.shapes import ExecContext, RootContext
from anchor_supervisor.errors import AnchorError, FleetError, ImageError, KernelError
from anchor_supervisor.fleet.model import Container, InstanceId, Probe, instances
from anchor_supervisor.kernel.spawn import NOT_EXECUTABLE, NOT_FOUND, SpawnError
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime.ahead import Ahead
from anchor_supervisor.runtime.alone import Begun
from anchor_supervisor.runtime.asking import HELD, Asking, crew, crew_size
from anchor_supervisor.runtime.bringup import Stdio, bring_up, get_ready
from anchor_supervisor.runtime.carriers import Carriers
from anchor_supervisor.runtime.completion import Complete
from anchor_supervisor.runtime.failures import told
from anchor_supervisor.runtime.farewell import Farewell, end_runs
from anchor_supervisor.runtime.held_facts import exec_facts, held_facts
from anchor_supervisor.runtime.hold import Holds
from anchor_supervisor.runtime.holdings import Holdings, acquire
from anchor_supervisor.runtime.leading import Leading
from anchor_supervisor.runtime.looks import Looks
from anchor_supervisor.runtime.output import Listener
from anchor_supervisor.runtime.pressure import PressureWatch
from anchor_supervisor.runtime.root_facts import root_facts
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.runtime.starters import Starters
from anchor_supervisor.runtime.stop_signal import look_at_stop
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.supervision.states import State
from anchor_supervisor.values import define, field


def _warn(instance: InstanceId, warning: str) -> None:
    log.warning(warning, container=str(instance))


def _tell(instance: InstanceId, event: str, facts: Mapping[str, object]) -> None:
    log.warning(event, container=str(instance), **facts)


@final
@define(eq=False)
class HostMachine:
    """Implements `supervisor.Machine` with this host's kernel. Owns what its instances hold.

    `warned` is told what a look at a run has found, once a run; `pressure.tell` what the kernel
    says of one. Once `ending`, no run follows one that has ended: what it held is given back.
    """

    site: Site
    listener: Listener
    stdio: Stdio | None = None
    warned: Callable[[InstanceId, str], None] = field(default=_warn, init=False)
    ending: Callable[[], bool] = field(default=lambda: False, init=False)
    pressure: PressureWatch = field(factory=lambda: PressureWatch(_tell), init=False)
    failures: dict[InstanceId, AnchorError] = field(factory=dict, init=False)
    _holdings: dict[InstanceId, Holdings] = field(factory=dict, init=False)
    _runs: dict[InstanceId, HostRun] = field(factory=dict, init=False)
    _begun: dict[InstanceId, HostRun] = field(factory=dict, init=False)  # before the loop
    _refreshing: defaultdict[InstanceId, trio.Lock] = field(
        factory=lambda: defaultdict(trio.Lock), init=False
    )
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _carriers: Carriers = field(init=False)
    _made_of: dict[InstanceId, Container] = field(factory=dict, init=False)
    _yet_to_start: deque[InstanceId] = field(factory=deque, init=False)  # and some that have
    _outdated: set[InstanceId] = field(factory=set, init=False)  # whose holdings are taken anew
    _farewell: Farewell = field(factory=Farewell, init=False)
    _leading: Leading = field(init=False)
    _asking: Asking = field(init=False)
    ahead: Ahead = field(init=False)
    _looks: Looks = field(init=False)
    # One more than the crew: a start waits for its child for a third of its time.
    _starters: Starters[HostRun] = field(factory=lambda: Starters(crew_size() + 1), init=False)
    # Apart from those, since a start may take minutes (a root is copied), and what is given back
    # must not stand behind it.
    _takers: trio.CapacityLimiter = field(factory=crew, init=False)

    def __attrs_post_init__(self) -> None:
        """Remember what the fleet's first instances are made of."""
        self._carriers = Carriers(self.listener)
        fleet = self.site.fleet
        self._made_of = {one: fleet.containers[one.container] for one in instances(fleet)}
        self._yet_to_start.extend(self._made_of)
        self._leading = Leading(self.site)
        self._asking = Asking(fleet.name, self.site.init, Holds())
        self.ahead = Ahead(self._holds_nothing, self.get_ready)
        self._looks = Looks(self._look_at, self.ahead.at_rest)

    def holdings(self, instance: InstanceId) -> Holdings | None:
        """What the instance holds; None where it was never started, or all is given back."""
        return self._holdings.get(instance)

    def take_over(self, begun: Begun) -> None:
        """Hold what was begun before the loop: its start, once it is asked for, is this run."""
        self._holdings[begun.instance] = begun.holdings
        self._runs[begun.instance] = self._begun[begun.instance] = begun.run

    def attach(self, nursery: trio.Nursery) -> None:
        """Carry the containers' output in this nursery."""
        self._nursery = nursery
        self._carriers.attach(nursery)
        nursery.start_soon(self.pressure.run, name="pressure")
        nursery.start_soon(self.ahead.run, name="ahead")
        nursery.start_soon(self._looks.run, name="looks")

    async def start(
        self, instance: InstanceId, cancelled: Callable[[], bool] = lambda: False
    ) -> HostRun:
        """Start a run of the instance; a failure is kept in `failures` until the next start.

        Only the copying of a root heeds `cancelled`: anything else takes milliseconds.
        """
        self.failures.pop(instance, None)
        try:
            return await self._start(instance, cancelled)
        except AnchorError as error:
            self.failures[instance] = error
            raise

    async def _start(self, instance: InstanceId, cancelled: Callable[[], bool]) -> HostRun:
        """Take what the instance holds where it has no holdings yet, and bring it up."""
        if instance in self._outdated:
            self.pressure.forget(instance)
            self._carriers.end(instance)
        await self.ahead.begin(instance)
        try:
            run = await self._starters.run(partial(self._bring_up, instance, cancelled))
        finally:
            self.ahead.end(instance)
            if instance in self._holdings:
                self._carriers.carry(self._holdings[instance].pump)
        self._runs[instance] = run
        self.pressure.watch(instance, run.holdings.cgroup, run.holdings.container.limits)
        if self._nursery is not None:
            self._looks.begun(instance, run)
            if run.notify is not None:
                self._nursery.start_soon(run.notify.listen, name=f"notices of {instance}")
        await self._publish(instance, run)
        return run

    async def _publish(self, instance: InstanceId, run: HostRun) -> None:
        """Lead the published ports to a new run, and end the run where that fails."""
        try:
            await self._leading.started(instance, run.holdings.container)
        except AnchorError as error:
            failure = error
        else:
            return
        run.signal("KILL")
        await run.wait()
        raise failure

    def _bring_up(self, instance: InstanceId, cancelled: Callable[[], bool]) -> HostRun:
        """In one visit to a worker thread, for each costs half a millisecond."""
        if (begun := self._begun.pop(instance, None)) is not None:
            return begun
        with told("prepare"), self._holding(instance) as holdings:
            return bring_up(self.site, holdings, self.stdio, cancelled)

    def get_ready(self, instance: InstanceId) -> None:
        """Take what the instance will hold, as far as it can be before its start. Blocks.

        Raises AnchorError; then nothing is held.
        """
        with told("prepare"), self._holding(instance) as holdings:
            get_ready(self.site, holdings)

    @contextmanager
    def _holding(self, instance: InstanceId) -> Iterator[Holdings]:
        """What the instance holds, for a start: given back where it turns out to be of no use."""
        holdings = self._held_by(instance)
        try:
            yield holdings
        finally:
            if holdings.unfit:
                self._give_back(instance)

    def _holds_nothing(self, but: set[InstanceId]) -> InstanceId | None:
        """An instance that has yet to start."""
        if self.ending():
            return None
        waiting = self._yet_to_start
        while waiting:
            one = waiting[0]
            if one in self._made_of and one not in self._holdings and one not in but:
                return one
            waiting.popleft()
        return None

    def _held_by(self, instance: InstanceId) -> Holdings:
        """Give what the instance holds, as it is to be from this start on."""
        container = self._made_of[instance]
        if instance in self._outdated:
            self._outdated.discard(instance)
            self._give_back(instance)
        holdings = self._holdings.get(instance)
        if holdings is None:
            layouts = self.site.layouts
            beside = not self._starters.several  # else the others have the processors
            holdings = acquire(self.site, instance, container, self._carriers.heard, beside=beside)
            self._holdings[instance] = holdings
            if self.site.layouts is not layouts:  # others have come or gone meanwhile
                holdings.rewrite_hosts(self.site)
        elif holdings.container is not container:
            holdings.container = container
        return holdings

    def _give_back(self, instance: InstanceId) -> None:
        if (holdings := self._holdings.pop(instance, None)) is not None:
            with told("give back"):
                holdings.release()

    def _look_at(self, instance: InstanceId, run: HostRun) -> None:
        """Look at a run that is well, or has had the time, for what will go wrong."""
        warning = look_at_stop(run.holdings.container, run.pid)
        if warning is not None:
            self.warned(instance, warning)

    def stop_warning(self, instance: InstanceId) -> str | None:
        """Why a stop of the instance would end in a kill, as it looks now; None: it would not."""
        run = self._runs.get(instance)
        if run is None or run.ended:
            return None
        return look_at_stop(run.holdings.container, run.pid)

    def notified(self, instance: InstanceId) -> str | None:
        """The last STATUS= that the present run has told its NOTIFY_SOCKET, printable."""
        run = self._runs.get(instance)
        return None if run is None or run.ended or run.notify is None else run.notify.status

    async def ended(self, instance: InstanceId) -> None:
        """A run of the instance has ended: nothing on the machine leads to it any more."""
        self._asking.ended(instance)
        await self._leading.ended(instance)
        if self.ending() and (holdings := self._holdings.get(instance)) is not None:
            self.pressure.forget(instance)
            self._carriers.end(instance)
            self._farewell.take(instance, holdings)

    def permanent(self, error: AnchorError) -> bool:
        """A command that is not there, or an image or a file that is wrong, stays so."""
        if isinstance(error, SpawnError):
            return error.shell_code in {NOT_FOUND, NOT_EXECUTABLE}
        return isinstance(error, (ImageError, FleetError))

    def kill(self, instance: InstanceId) -> None:
        """End every process of the instance, whatever it forked.

        By its pid namespace, which dies whole with its first process (pid_namespaces(7)), and not
        by cgroup.kill, after which no child could be cloned into the cgroup (see `bringup`).
        """
        run = self._runs.get(instance)
        if run is not None:
            run.signal("KILL")

    async def probe(
        self, instance: InstanceId, probe: Probe, within: float = math.inf
    ) -> ProbeAnswer:
        """Ask once whether the instance is healthy, for at most `within` seconds."""
        run = self._runs[instance]  # now: it may have been removed when the answer is there
        answer = await self._asking.probe(instance, run, probe, within)
        if answer.ok and answer is not HELD and not run.ended:
            self._looks.well(instance, run)
            return await self._leading.heard(instance, run.holdings.container, probe, answer)
        return answer

    async def run_stop_command(
        self, instance: InstanceId, command: tuple[str, ...], within: float
    ) -> ProbeAnswer:
        """Run the command in the instance, as a probe is; while it is held still nothing runs."""
        return await self._asking.run_command(instance, self._runs[instance], command, within)

    async def drain(self, instance: InstanceId) -> None:
        """Lead nothing new to the published ports of the instance, for the rest of its run."""
        run = self._runs.get(instance)
        if run is not None and not run.ended:  # else the next run would be drained as well
            await self._leading.drain(instance)

    def reshape(self, instance: InstanceId, container: Container, *, fresh: bool) -> None:
        """Remember what the instance is made of from its next start on."""
        if instance not in self._made_of:
            self._yet_to_start.append(instance)
        self._made_of[instance] = container
        if fresh and (instance in self._holdings or self.ahead.takes_for(instance)):
            self._outdated.add(instance)

    async def refresh(self, instance: InstanceId, container: Container) -> None:
        """Bring the limits, files and published ports of a running instance in line."""
        self._made_of[instance] = container
        if (holdings := self._holdings.get(instance)) is None:
            return  # it has just been given back
        async with self._refreshing[instance]:  # one after the other, as they were asked for
            try:
                await trio.to_thread.run_sync(
                    self._bring_in_line, instance, holdings, limiter=self._takers
                )
            except KernelError:
                if self._holdings.get(instance) is holdings:
                    raise
        if self._holdings.get(instance) is holdings:
            self.pressure.watch(instance, holdings.cgroup, container.limits)
        if instance in self._runs and not self._runs[instance].ended:
            await self._leading.changed(instance, container)

    def _bring_in_line(self, instance: InstanceId, holdings: Holdings) -> None:
        """In a worker thread, which may have had to wait: what was said last counts."""
        container = self._made_of.get(instance)
        if container is not None:
            holdings.refresh(container, self.site.fleet.limits)

    async def remove(self, instance: InstanceId) -> None:
        """Give back all that the instance holds.

        What it is to be made of may have been said again since this was asked for.
        """
        self.failures.pop(instance, None)
        self._outdated.discard(instance)
        self._runs.pop(instance, None)
        self.pressure.forget(instance)
        await self.ahead.begin(instance)
        try:
            self._carriers.end(instance)
            await trio.to_thread.run_sync(self._give_back, instance, limiter=self._takers)
        finally:
            self.ahead.end(instance, gone=True)

    def reconfigure(self, wanted: Complete) -> None:
        """Make room for another fleet of that name; what runs goes on. Blocks, for a worker thread.

        Raises AnchorError, and then nothing has changed.
        """
        with told("make ready"):
            self.site.reconfigure(wanted)
        for instance, holdings in list(self._holdings.items()):
            try:
                holdings.rewrite_hosts(self.site)
            except AnchorError as error:
                log.warning("/etc/hosts is out of date", container=str(instance), why=str(error))

    def in_use(self, known: Collection[InstanceId]) -> list[tuple[InstanceId, Container]]:
        """What the instances are made of, and those that are to be; forget all but the known."""
        for gone in self._made_of.keys() - known:
            if not self.ahead.takes_for(gone):
                del self._made_of[gone]
        in_use = list(self._made_of.items())
        in_use += [(one, held.container) for one, held in list(self._holdings.items())]
        return in_use

    def exec_context(self, instance: InstanceId) -> ExecContext:
        """What a new process of this running instance must be like."""
        return exec_facts(self._runs[instance])

    def root_context(self, instance: InstanceId, state: State) -> RootContext:
        """Where the instance's root is, for who copies from and to it."""
        holdings = self._holdings.get(instance)
        if holdings is None:
            message = f"`{instance}` has not been started yet, so it has no root"
            raise Refused(message, hint=f"`anchor why {instance}` says what it waits for")
        if state not in {State.RUNNING, State.STOPPING, State.STARTING}:
            holdings.root.let_go()  # whoever asks may mount it
        layers = self.site.layers[holdings.container.image]
        run, hold = self._runs.get(instance), self._asking.holds.number(instance)
        return root_facts(self.site, holdings, layers, run, state, hold)

    def held(self, instance: InstanceId) -> AbstractAsyncContextManager[None]:
        """Keep every process of the instance still for a block's length, or until its run ends."""
        return self._asking.holds.held(instance, self._holdings[instance].cgroup)

    def facts(self, instance: InstanceId) -> dict[str, object]:
        """What this host holds for an instance, for `inspect`."""
        holdings = self._holdings.get(instance)
        return {} if holdings is None else held_facts(holdings)

    async def more_output(self) -> None:
        """Return when some container has said something."""
        await self._carriers.more()

    def release(self) -> None:
        """Kill what still runs and give everything back. Blocking; for the very end."""
        self.pressure.close()
        end_runs(self._runs)
        for instance, holdings in self._holdings.items():
            self._farewell.take(instance, holdings)
        self._holdings.clear()
        self._farewell.finish()
