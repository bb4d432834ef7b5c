"""The loop: one inbox, one core, one writer.

Tasks watch the world and post events; this loop alone hands them to the core and performs what
the core commands. So nothing here needs a lock, and whatever a container does is one line in one
place. The acting side is a `Machine`, given from outside.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, TypeVarTuple, Unpack, final

import trio

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Container, InstanceId, Probe
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime.terms import Outcome
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus
from anchor_supervisor.values import define, field, frozen

Ts = TypeVarTuple("Ts")


@final
@frozen
class ProbeAnswer:
    """What a health probe found; `output` is what it printed, or why it failed."""

    ok: bool
    output: str


class Run(Protocol):
    """One run of one instance, from exec to exit."""

    @property
    def pid(self) -> int:
        """The main process, as the host numbers it."""
        ...

    async def wait(self) -> ExitStatus:
        """Return how it ended, once its every process is gone and its output is stored."""
        ...

    def signal(self, name: str) -> None:
        """Send a signal, by its name without SIG; harmless when the run has ended."""
        ...


class Machine(Protocol):
    """The acting side: what the loop needs of the host."""

    async def start(self, instance: InstanceId, cancelled: Callable[[], bool]) -> Run:
        """Start a run. Raises AnchorError, and then nothing of the run is left.

        Once `cancelled` is true, from whatever thread it is asked, the start may be given up.
        """
        ...

    async def ended(self, instance: InstanceId) -> None:
        """Tidy up after a run that has ended, before the core hears of it."""
        ...

    def kill(self, instance: InstanceId) -> None:
        """End every process of the instance now; harmless when there is none."""
        ...

    async def probe(self, instance: InstanceId, probe: Probe, within: float) -> ProbeAnswer:
        """Ask once whether the instance is healthy, for at most `within` seconds."""
        ...

    async def run_stop_command(
        self, instance: InstanceId, command: tuple[str, ...], within: float
    ) -> ProbeAnswer:
        """Run the command in the instance, for at most `within` seconds; it leaves nothing."""
        ...

    async def drain(self, instance: InstanceId) -> None:
        """Lead nothing new to the published ports of a running instance. Raises AnchorError."""
        ...

    def reshape(self, instance: InstanceId, container: Container, *, fresh: bool) -> None:
        """Remember what the instance is made of from its next start on; nothing of it runs.

        `fresh`: that start first gives back what is held, and takes everything anew.
        """
        ...

    async def refresh(self, instance: InstanceId, container: Container) -> None:
        """Bring the limits and files of a running instance in line. Raises AnchorError."""
        ...

    async def remove(self, instance: InstanceId) -> None:
        """Give back all that the instance holds; nothing of it runs. Raises AnchorError."""
        ...

    def permanent(self, error: AnchorError) -> bool:
        """Whether trying the same start again cannot help."""
        ...


Observer = Callable[[commands.Command], None]

TELL_WITHIN: Final = 0.05
"""Seconds within which what has happened is told, whatever is being started."""


def _nothing() -> None:
    """Nothing is owed."""


@final
@define(eq=False)
class Supervisor:
    """Feeds a core until the fleet is done. `observer` sees every command before it is done.

    What it has seen is told by `settle` before the loop sleeps, or, while something is being
    started, within `TELL_WITHIN`; and before anybody who waits for a change looks up.
    """

    core: Core
    machine: Machine
    observer: Observer
    settle: Callable[[], None] = field(default=_nothing, init=False)
    _outcome: Outcome | None = field(default=None, init=False)
    _runs: dict[InstanceId, Run] = field(factory=dict, init=False)
    _cancelled: set[InstanceId] = field(factory=set, init=False)  # whose start is given up
    _owing_since: float | None = field(default=None, init=False)
    _called: deque[InstanceId] = field(factory=deque, init=False)  # to start, in that order
    _starting: int = field(default=0, init=False)
    _rested: trio.Event = field(factory=trio.Event, init=False)
    _probes: dict[InstanceId, trio.CancelScope] = field(factory=dict, init=False)
    troubles: dict[InstanceId, str] = field(factory=dict, init=False)  # what could not be done last
    _acting: Counter[InstanceId] = field(factory=Counter, init=False)
    _removals: dict[InstanceId, trio.Event] = field(factory=dict, init=False)
    _due: events.Tick = field(factory=events.Tick, init=False)  # ours, which nobody has posted
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _posted: int = field(default=0, init=False)
    _handled: int = field(default=0, init=False)
    _send: trio.MemorySendChannel[events.Event] = field(init=False)
    _inbox: trio.MemoryReceiveChannel[events.Event] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Open the inbox: unbounded, because every sender is a bounded set of our own tasks."""
        self._send, self._inbox = trio.open_memory_channel[events.Event](math.inf)

    def post(self, event: events.Event) -> None:
        """Put an event into the inbox. Never blocks."""
        self._posted += 1
        self._send.send_nowait(event)

    async def order(self, event: events.Event) -> None:
        """Post an event and return once the core has handled it."""
        self.post(event)
        place = self._posted
        while self._handled < place:
            await self._changed.wait()

    def signal(self, instance: InstanceId, name: str) -> bool:
        """Send a signal to a running instance, at an operator's wish; False: it does not run."""
        run = self._runs.get(instance)
        if run is not None:
            run.signal(name)
        return run is not None

    @property
    def acting(self) -> frozenset[InstanceId]:
        """The instances that something is being done for beside their runs: limits, removals."""
        return frozenset(self._acting)

    async def changed(self) -> None:
        """Return after the next event has been handled, or something else has been done."""
        await self._changed.wait()

    async def at_rest(self) -> None:
        """Return once no start is under way."""
        while self._starting:
            await self._rested.wait()

    async def run(
        self,
        background: Callable[[trio.Nursery], Awaitable[None]] | None = None,
        first: events.FleetStartRequested | None = None,
    ) -> Outcome:
        """Bring the fleet up and keep it so, until it is done.

        `first` says what the wall clock reads, and what was before. `background` may start tasks of
        its own beside the loop (signals, control socket, logs); they are cancelled when the fleet
        is done.
        """
        async with trio.open_nursery() as nursery:
            if background is not None:
                await background(nursery)
            self.post(first or events.FleetStartRequested())
            outcome = await self._loop(nursery)
            nursery.cancel_scope.cancel()
        return outcome

    async def _loop(self, nursery: trio.Nursery) -> Outcome:
        while self._outcome is None:
            event = await self._next_event()
            posted, now = event is not self._due, trio.current_time()
            for command in self.core.handle(event, now):
                self.observer(command)
                self._perform(command, nursery)
                if self._owing_since is None:
                    self._owing_since = now
            self._handled += posted
            self.wake()
        return self._outcome

    def wake(self) -> None:
        """Let everyone look who waits for something to change."""
        if self._changed.statistics().tasks_waiting:
            self.settle()
            self._changed.set()
            self._changed = trio.Event()

    async def _next_event(self) -> events.Event:
        """Wait for an event, or for the core's deadline. No deadline: no wake-up."""
        with suppress(trio.WouldBlock):
            return self._inbox.receive_nowait()
        deadline = self.core.next_deadline()
        due = math.inf if deadline is None else deadline
        if self._owing_since is not None and self._starting:
            tell_by = self._owing_since + TELL_WITHIN
            with trio.move_on_at(min(tell_by, due)):
                return await self._inbox.receive()
        if self._owing_since is not None:
            self._owing_since = None
            self.settle()
        with trio.move_on_at(due):
            return await self._inbox.receive()
        return self._due

    def _perform(self, command: commands.Command, nursery: trio.Nursery) -> None:
        match command:
            case commands.Spawn(instance=instance):
                self._cancelled.discard(instance)
                self._called.append(instance)
                self._starting += 1
                nursery.start_soon(self._live)
            case commands.CancelSpawn(instance=instance):
                self._cancelled.add(instance)
            case commands.Signal(instance=instance, signal=signal):
                if instance in self._runs:
                    self._runs[instance].signal(signal)
            case commands.Kill(instance=instance):
                self.machine.kill(instance)
            case commands.RunProbe():
                nursery.start_soon(self._probe, command, name=f"probe {command.instance}")
            case commands.CancelProbe(instance=instance):
                if instance in self._probes:
                    self._probes[instance].cancel()
            case commands.RunStopCommand():
                nursery.start_soon(self._stop_command, command, name=f"stop {command.instance}")
            case commands.Drain(instance=instance):
                self._begin_act(instance)
                nursery.start_soon(self._act, self.machine.drain, instance)
            case commands.Reshape(instance=instance, container=container, fresh=fresh):
                self.machine.reshape(instance, container, fresh=fresh)
            case commands.Refresh(instance=instance):
                self._begin_act(instance)
                nursery.start_soon(self._refresh, command, name=f"refresh {command.instance}")
            case commands.Remove(instance=instance):
                self._begin_act(instance)
                earlier = self._removals.get(instance)
                over = self._removals[instance] = trio.Event()
                nursery.start_soon(self._remove, instance, earlier, over, name=f"remove {instance}")
            case commands.FleetDone(exit_code=exit_code, reason=reason):
                self._outcome = Outcome(exit_code, reason)
            case (
                commands.Report()
                | commands.UpdateEnded()
                | commands.FleetReady()
                | commands.FleetUnready()
            ):
                pass  # the observer's business

    async def _live(self) -> None:
        """One run of one instance. Whatever goes wrong here stays here."""
        instance = self._called.popleft()  # trio lets many tasks begin in either order
        run = await self._start(instance)
        self._starting -= 1
        if not self._starting:
            self._rested.set()
            self._rested = trio.Event()
        if run is None:
            return
        self._runs[instance] = run
        self.post(events.Spawned(instance, run.pid))
        status = ExitStatus()
        try:
            status = await run.wait()
            await self.machine.ended(instance)
        except Exception:
            log.exception("bug", container=str(instance))
            self.machine.kill(instance)
        finally:
            del self._runs[instance]
        self.post(events.Exited(instance, status))

    async def _start(self, instance: InstanceId) -> Run | None:
        """The run; None where it could not be started, which is told."""
        if instance in self._removals:  # an earlier one of that name is still being taken apart
            await self._removals[instance].wait()  # no other begins before this one has ended
        try:
            return await self.machine.start(instance, lambda: instance in self._cancelled)
        except AnchorError as error:
            permanent = self.machine.permanent(error)
            self.post(events.SpawnFailed(instance, str(error), permanent=permanent))
        except Exception as bug:
            log.exception("bug", container=str(instance))
            self.post(events.SpawnFailed(instance, f"internal error: {bug!r}"))
        return None

    async def _probe(self, command: commands.RunProbe) -> None:
        """One probe; one that is cancelled by the core gives no answer."""
        instance = command.instance
        with trio.CancelScope() as scope:
            self._probes[instance] = scope
            try:
                asked = self.machine.probe(instance, command.probe, command.timeout)
                answer = await self._answer(instance, asked)
            finally:
                if self._probes.get(instance) is scope:
                    del self._probes[instance]
        if not scope.cancelled_caught:
            self.post(events.ProbeFinished(instance, command.number, answer.ok, answer.output))

    async def _stop_command(self, command: commands.RunStopCommand) -> None:
        """The `stop.command` of one instance."""
        instance = command.instance
        asked = self.machine.run_stop_command(instance, command.command, command.timeout)
        answer = await self._answer(instance, asked)
        self.post(events.StopCommandFinished(instance, answer.ok, answer.output))

    async def _answer(self, instance: InstanceId, asked: Awaitable[ProbeAnswer]) -> ProbeAnswer:
        """What a command in a container came to; whatever goes wrong is an answer too."""
        try:
            return await asked
        except (AnchorError, OSError) as error:  # no descriptor is left, say
            return ProbeAnswer(ok=False, output=str(error))
        except Exception as bug:
            log.exception("bug", container=str(instance))
            return ProbeAnswer(ok=False, output=f"internal error: {bug!r}")

    async def _refresh(self, command: commands.Refresh) -> None:
        """Bring a running instance in line, and tell it by its signal."""
        await self._act(self.machine.refresh, command.instance, command.container)
        if command.signal is not None and command.instance in self._runs:
            self._runs[command.instance].signal(command.signal)

    async def _remove(
        self, instance: InstanceId, earlier: trio.Event | None, over: trio.Event
    ) -> None:
        """Take an instance apart: after the earlier one of that name, which may take seconds."""
        try:
            if earlier is not None:
                await earlier.wait()
            await self._act(self.machine.remove, instance)
        finally:
            over.set()
            if self._removals[instance] is over:
                del self._removals[instance]

    def _begin_act(self, instance: InstanceId) -> None:
        self._acting[instance] += 1
        self.troubles.pop(instance, None)

    async def _act(
        self,
        act: Callable[[InstanceId, Unpack[Ts]], Awaitable[None]],
        instance: InstanceId,
        *more: *Ts,
    ) -> None:
        """Do something whose failure is told, and changes nothing else."""
        try:
            await act(instance, *more)
        except (AnchorError, OSError) as error:
            log.warning("not everything could be done", container=str(instance), why=str(error))
            self.troubles[instance] = str(error)
        except Exception as bug:
            log.exception("bug", container=str(instance))
            self.troubles[instance] = f"internal error: {bug!r}"
        finally:
            self._acting[instance] -= 1
            if not self._acting[instance]:
                del self._acting[instance]
            self.wake()
