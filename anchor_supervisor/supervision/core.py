"""The fleet as a whole: events in, commands out.

THE LAW. No clock, no input or output, no log, no random: time is the argument `now`, and all that
is to happen is in the list that `handle` returns. Whatever arrives, in whatever order, late or
twice, `handle` does not raise; what means nothing now is dropped.

Every call goes the same way: the event, then what is due by `now`, then what that means for the
fleet, then the neighbours of all that changed: starts whose gates are open, stops whose turn has
come. So a dependent is started by the very call in which its dependency became ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from anchor_supervisor.fleet.model import Container, Fleet, InstanceId
from anchor_supervisor.supervision.cascade import Cascade
from anchor_supervisor.supervision.commands import (
    Command,
    FleetDone,
    FleetReady,
    FleetUnready,
    Report,
    Spawn,
    UpdateEnded,
)
from anchor_supervisor.supervision.deadlines import Deadlines
from anchor_supervisor.supervision.events import (
    ClockSet,
    Event,
    Exited,
    FleetChanged,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopCommandFinished,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.flow import Flow
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, HELD
from anchor_supervisor.supervision.members import Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.order import Order
from anchor_supervisor.supervision.rolls import Rolls
from anchor_supervisor.supervision.slots import Slots
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.supervision.status import Status, describe
from anchor_supervisor.supervision.update import UpdateStatus
from anchor_supervisor.supervision.verdicts import Verdicts
from anchor_supervisor.values import evolve


@final
class Core:
    """The supervisor's mind. One writer: it is not for use by two tasks at once."""

    def __init__(self, fleet: Fleet) -> None:
        """Take a checked fleet; raise SupervisionBug where its dependencies are not a graph."""
        self._out: list[Command] = []
        self._touched: set[InstanceId] = set()
        self._members = Members(fleet, self._emit)
        self._changed = self._members.touched
        self._neighbours = Neighbours(Order(fleet), self._members)
        self._slots = Slots(fleet.parallel)
        self._flow = Flow(self._members, self._neighbours, self._slots)
        self._cascade = Cascade(self._members, self._neighbours)
        self._rolls = Rolls(fleet, self._members, self._neighbours, self._emit)
        self._verdicts = Verdicts(self._members, self._neighbours, self._emit)
        self._deadlines = Deadlines()
        self._now = float("-inf")
        self._phase = Phase.IDLE
        self._exit = FleetDone(0, "stopped on request")

    @property
    def phase(self) -> Phase:
        """Where in its life the whole fleet is; operators are heard only while it is `up`."""
        return self._phase

    @property
    def fleet(self) -> Fleet:
        """The fleet as it should be: as it was given last, but for what an update rolled back."""
        return self._members.fleet

    @property
    def updates(self) -> Mapping[str, UpdateStatus]:
        """The latest update of each container that has had one, whether it has ended or not."""
        return self._rolls.statuses()

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event at monotonic second `now`; return what is to be done, in order.

        A `now` before the last one counts as the last one. Once FleetDone is out, nothing follows.
        """
        if self._phase is Phase.DONE:
            return []
        now = self._now = max(now, self._now)
        self._take(event, now)
        self._rearm()
        self._pass_time(now)
        while (at := self._deadlines.first()) is not None and at <= now:
            self._pass_time(now)  # a policy that was taken over meanwhile wants something at once
        commands, self._out = self._out, []
        return commands

    def next_deadline(self) -> float | None:
        """Return the monotonic second at which a Tick is wanted at the latest, if at all."""
        if self._phase is Phase.DONE:
            return None
        moments = (self._deadlines.first(), self._rolls.deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def resolve(self, name: str) -> tuple[InstanceId, ...]:
        """Return what an operator means by `web` (every replica) or `web.2`; nothing if unknown."""
        replicas = tuple(member.id for member in self._members.of(name))
        return replicas or tuple(i for i in self._members.all if str(i) == name)

    def made_of(self, instance: InstanceId) -> Container:
        """Return what an instance is made of now. Raises KeyError where there is no such one."""
        return self._members.all[instance].container

    def snapshot(self, instance: InstanceId | str, now: float | None = None) -> Status:
        """Return all that is known of one instance (`web` is its first replica).

        `now` is for what slides with time (the restart window); without it, the last event's.
        Raises KeyError where there is no such instance.
        """
        if isinstance(instance, str):
            found = self.resolve(instance)
            if not found:
                raise KeyError(instance)
            instance = found[0]
        return self._status(self._members.all[instance], self._neighbours.stuck(), now)

    def statuses(self, now: float | None = None) -> tuple[Status, ...]:
        """Return all that is known of every instance, in the file's order."""
        stuck = self._neighbours.stuck()
        return tuple(self._status(member, stuck, now) for member in self._members)

    # The event.

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Tick():
                pass
            case ClockSet(wall_offset=wall_offset):
                self._members.wall_offset = wall_offset
                for member in self._members:
                    self._touched.add(member.id)
                    member.set_clock(now, wall_offset)
            case FleetStartRequested():
                self._begin(now, event)
            case FleetChanged(fleet=fleet):
                if self._phase is Phase.UP:
                    self._change(fleet, now)
            case FleetStopRequested():
                self._begin_stop(now, FleetDone(0, "stopped on request"))
            case FleetKillRequested():
                self._begin_stop(now, FleetDone(0, "killed on request"))
                for member in self._members:
                    member.kill(now, "the fleet is being killed")
            case StartRequested() | StopRequested() | RestartRequested():
                member_asked = self._members.all.get(event.instance)
                heard = self._phase is Phase.UP and event.instance not in self._members.leaving
                if member_asked is not None and heard:
                    self._changed.append(member_asked)
                    self._obey(event, member_asked, now)
            case Spawned() | SpawnFailed() | Exited() | ProbeFinished() | StopCommandFinished():
                member_met = self._members.all.get(event.instance)
                if member_met is not None:
                    self._touched.add(event.instance)
                    self._note(event, member_met, now)

    def _obey(
        self, event: StartRequested | StopRequested | RestartRequested, member: Instance, now: float
    ) -> None:
        self._members.parked.discard(member.id)
        match event:
            case StartRequested():
                member.want(now, "start requested")
            case StopRequested():
                self._members.parked.add(member.id)
                member.stop(now, "stop requested")
            case RestartRequested():
                member.restart(now, "restart requested")

    def _note(
        self,
        event: Spawned | SpawnFailed | Exited | ProbeFinished | StopCommandFinished,
        member: Instance,
        now: float,
    ) -> None:
        match event:
            case Spawned(pid=pid):
                member.life.spawned(now, pid)
            case SpawnFailed(reason=reason, permanent=permanent):
                member.life.spawn_failed(now, reason, permanent=permanent)
            case Exited(status=status):
                member.life.exited(now, status)
            case ProbeFinished(number=number, ok=ok, output=output):
                member.life.probe_finished(now, number, ok=ok, output=output)
            case StopCommandFinished(ok=ok, output=output):
                member.life.stop_command_finished(now, ok=ok, output=output)

    def _begin(self, now: float, event: FleetStartRequested) -> None:
        if self._phase is Phase.IDLE:
            self._phase = Phase.UP
            self._members.wall_offset = event.wall_offset
            for member in self._neighbours.rising:
                last_run = event.last_runs.get(member.id.container)
                member.begin(now, event.wall_offset, last_run)
                self._touched.add(member.id)
                self._changed.append(member)

    def _change(self, fleet: Fleet, now: float) -> None:
        """Let the fleet be another from now on; what that takes begins with this call."""
        self._neighbours.order = Order(fleet)
        fresh = self._members.follow(fleet, now)
        self._slots.most = fleet.parallel
        self._rolls.follow(fleet, fresh, now)
        self._touched.update(self._members.all)
        self._changed.extend(self._neighbours.everyone)

    def _begin_stop(self, now: float, outcome: FleetDone) -> None:
        """Turn to stopping; the first cause is the one that counts."""
        if self._phase in {Phase.IDLE, Phase.UP}:
            self._phase = Phase.STOPPING
            self._flow.down = True
            self._exit = outcome
            self._rolls.close("the fleet is stopping")
            for member in self._neighbours.everyone:
                self._touched.add(member.id)
                member.close(now, "the fleet is stopping")
            self._changed.extend(reversed([*self._neighbours.everyone]))

    # What follows from it.

    def _emit(self, command: Command) -> None:
        """Take a command from an instance, and remember whose neighbours must be looked at."""
        self._out.append(command)
        match command:
            case FleetReady() | FleetUnready() | FleetDone() | UpdateEnded():
                return
            case Report(instance=instance):
                self._changed.append(self._members.all[instance])
                self._members.census.note(instance, command.state)
                self._slots.hear(command)
                self._cascade.hear(command)
                self._rolls.hear(command)
            case Spawn(instance=instance):
                self._members.shapes.launched(instance)
            case _:
                pass
        self._touched.add(command.instance)

    def _rearm(self) -> None:
        for instance in self._touched:
            member = self._members.all.get(instance)
            self._deadlines.arm(instance, None if member is None else member.deadline())
        self._touched.clear()

    def _pass_time(self, now: float) -> None:
        for instance in self._deadlines.take(now):
            self._expire(self._members.all[instance], now)
        self._settle(now)
        self._rearm()

    def _expire(self, member: Instance, now: float) -> None:
        self._touched.add(member.id)
        member.expire(now)
        if member.state in HELD:
            self._changed.append(member)

    def _settle(self, now: float) -> None:
        """Bring every change to those it concerns, until nothing changes any more."""
        at = self._rolls.deadline()
        proven = at is not None and at <= now
        while self._changed or proven:
            proven = False
            if self._phase is Phase.UP:
                self._rolls.fail(now)
                self._cascade.spread(now)
                self._verdicts.readiness()
                if (end := self._verdicts.essentials()) is not None:
                    self._begin_stop(now, end)
            self._flow.follow(now)
            if self._phase is Phase.UP:
                for signal in self._cascade.signals():
                    self._emit(signal)
                self._rolls.advance(now)
        if self._phase is Phase.STOPPING:
            if self._members.census.all_in(DOWN):
                self._finish(self._exit)
        elif self._phase is Phase.UP and not self._rolls.busy():
            verdict = self._verdicts.jobs()
            if verdict is not None:
                self._finish(verdict)

    def _finish(self, outcome: FleetDone) -> None:
        self._phase = Phase.DONE
        self._emit(outcome)

    # What is told of it.

    def _status(self, member: Instance, stuck: frozenset[InstanceId], now: float | None) -> Status:
        here = member.id not in self._members.leaving
        waiting = member.state is State.WAITING and self._phase is not Phase.IDLE and here
        waits = self._neighbours.waits(member, stuck) if waiting else ()
        closing = self._phase is Phase.STOPPING
        status = describe(member, waits, self._now if now is None else now, closing=closing)
        if waiting and not waits and self._slots.waits(member.id):
            return evolve(status, next="starts once another has started")
        return status
