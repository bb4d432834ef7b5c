"""The fleet as a whole: events in, commands out.

THE LAW. No clock, no input or output, no log, no random: time is the argument `now`, and all that
is to happen is in the list that `handle` returns. Whatever arrives, in whatever order, late or
twice, `handle` does not raise; what means nothing now is dropped.

Every call goes the same way: the event, then what is due by `now`, then what that means for the
fleet, then the neighbours of all that changed: starts whose gates are open, stops whose turn has
come. So a dependent is started by the very call in which its dependency became ready.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import final

from anchor_supervisor.fleet.model import Fleet, InstanceId, Kind, instances
from anchor_supervisor.supervision.commands import (
    Command,
    FleetDone,
    FleetReady,
    FleetUnready,
    Report,
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
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, HELD
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.supervision.status import Status, describe


@final
class Core:
    """The supervisor's mind. One writer: it is not for use by two tasks at once."""

    def __init__(self, fleet: Fleet) -> None:
        """Take a checked fleet; raise SupervisionBug where its dependencies are not a graph."""
        self._out: list[Command] = []
        self._touched: set[InstanceId] = set()
        self._changed: deque[Instance] = deque()
        self._members: dict[InstanceId, Instance] = {
            identity: Instance(identity, fleet.containers[identity.container], self._emit)
            for identity in instances(fleet)
        }
        self._neighbours = Neighbours(fleet, self._members)
        self._essential = tuple(m for m in self._members.values() if m.container.essential)
        self._deadlines = Deadlines()
        self._now = float("-inf")
        self._phase = Phase.IDLE
        self._only_jobs = all(
            c.kind is Kind.JOB and c.schedule is None for c in fleet.containers.values()
        )
        self._said_ready = False
        self._said_unready = False
        self._exit = FleetDone(0, "stopped on request")

    @property
    def phase(self) -> Phase:
        """Where in its life the whole fleet is; operators are heard only while it is `up`."""
        return self._phase

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event at monotonic second `now`; return what is to be done, in order.

        A `now` before the last one counts as the last one. Once FleetDone is out, nothing follows.
        """
        if self._phase is Phase.DONE:
            return []
        now = self._now = max(now, self._now)
        self._take(event, now)
        self._rearm()
        for instance in self._deadlines.take(now):
            self._expire(self._members[instance], now)
        self._settle(now)
        self._rearm()
        commands, self._out = self._out, []
        return commands

    def next_deadline(self) -> float | None:
        """Return the monotonic second at which a Tick is wanted at the latest, if at all."""
        return None if self._phase is Phase.DONE else self._deadlines.first()

    def resolve(self, name: str) -> tuple[InstanceId, ...]:
        """Return what an operator means by `web` (every replica) or `web.2`; nothing if unknown."""
        if name in self._neighbours.replicas:
            return tuple(member.id for member in self._neighbours.replicas[name])
        return tuple(identity for identity in self._members if str(identity) == name)

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
        return self._status(self._members[instance], self._neighbours.stuck(), now)

    def statuses(self, now: float | None = None) -> tuple[Status, ...]:
        """Return all that is known of every instance, in the file's order."""
        stuck = self._neighbours.stuck()
        return tuple(self._status(member, stuck, now) for member in self._members.values())

    # The event.

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Tick() | FleetChanged():
                pass
            case ClockSet(wall_offset=wall_offset):
                for member in self._neighbours.rising:
                    self._touched.add(member.id)
                    member.set_clock(now, wall_offset)
            case FleetStartRequested():
                self._begin(now, event)
            case FleetStopRequested():
                self._begin_stop(now, FleetDone(0, "stopped on request"))
            case FleetKillRequested():
                self._begin_stop(now, FleetDone(0, "killed on request"))
                for member in self._neighbours.rising:
                    member.kill(now, "the fleet is being killed")
            case StartRequested() | StopRequested() | RestartRequested():
                member_asked = self._members.get(event.instance)
                if member_asked is not None and self._phase is Phase.UP:
                    self._obey(event, member_asked, now)
            case Spawned() | SpawnFailed() | Exited() | ProbeFinished() | StopCommandFinished():
                member_met = self._members.get(event.instance)
                if member_met is not None:
                    self._touched.add(event.instance)
                    self._note(event, member_met, now)

    def _obey(
        self, event: StartRequested | StopRequested | RestartRequested, member: Instance, now: float
    ) -> None:
        match event:
            case StartRequested():
                member.want(now, "start requested")
            case StopRequested():
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

    # What follows from it.

    def _emit(self, command: Command) -> None:
        """Take a command from an instance, and remember whose neighbours must be looked at."""
        self._out.append(command)
        match command:
            case FleetReady() | FleetUnready() | FleetDone() | UpdateEnded():
                pass
            case Report(instance=instance):
                self._touched.add(instance)
                self._changed.append(self._members[instance])
            case _:
                self._touched.add(command.instance)

    def _rearm(self) -> None:
        for instance in self._touched:
            self._deadlines.arm(instance, self._members[instance].deadline())
        self._touched.clear()

    def _expire(self, member: Instance, now: float) -> None:
        self._touched.add(member.id)
        member.expire(now)
        if member.state in HELD:
            self._changed.append(member)

    def _settle(self, now: float) -> None:
        if not self._changed:
            return
        if self._phase is Phase.UP:
            self._judge_readiness()
            self._judge_essentials(now)
        self._follow(now)
        if self._phase is Phase.UP and self._only_jobs:
            self._judge_jobs()
        if self._phase is Phase.STOPPING and all(m.state in DOWN for m in self._neighbours.rising):
            self._finish(self._exit)

    def _follow(self, now: float) -> None:
        """Bring every change to those it concerns, until nothing changes any more."""
        while self._changed:
            member = self._changed.popleft()
            if self._phase is Phase.UP:
                self._launch_if_due(member, now)
                for dependent in self._neighbours.dependents(member):
                    self._launch_if_due(dependent, now)
                member.take_queued(now)
            elif self._phase is Phase.STOPPING:
                self._stop_if_free(member, now)
                for _, dependency in self._neighbours.dependencies(member):
                    self._stop_if_free(dependency, now)

    def _launch_if_due(self, member: Instance, now: float) -> None:
        if not member.may_launch(now):
            return
        if self._neighbours.gates_open(member):
            member.launch(now)
        else:
            member.hold(now, partial(self._neighbours.why_held, member))

    def _stop_if_free(self, member: Instance, now: float) -> None:
        up = member.state in {State.STARTING, State.RUNNING}
        if up and self._neighbours.dependents_down(member):
            member.stop(now, "the fleet is stopping")

    # What it means for the fleet.

    def _begin(self, now: float, event: FleetStartRequested) -> None:
        if self._phase is Phase.IDLE:
            self._phase = Phase.UP
            for member in self._neighbours.rising:
                last_run = event.last_runs.get(member.id.container)
                member.begin(now, event.wall_offset, last_run)
                self._touched.add(member.id)
            self._changed.extend(self._neighbours.rising)

    def _begin_stop(self, now: float, outcome: FleetDone) -> None:
        """Turn to stopping; the first cause is the one that counts."""
        if self._phase in {Phase.IDLE, Phase.UP}:
            self._phase = Phase.STOPPING
            self._exit = outcome
            for member in self._neighbours.rising:
                self._touched.add(member.id)
                member.close(now, "the fleet is stopping")
            self._changed.extend(reversed(self._neighbours.rising))

    def _finish(self, outcome: FleetDone) -> None:
        self._phase = Phase.DONE
        self._emit(outcome)

    def _judge_essentials(self, now: float) -> None:
        """Stop the fleet once a container that it cannot be without has given up."""
        for member in self._essential:
            if member.state is State.FAILED:
                self._begin_stop(now, FleetDone(1, f"essential container {member.account}"))
                return

    def _judge_readiness(self) -> None:
        """Say once that the fleet is ready, or that it cannot become so by itself."""
        members = self._neighbours.rising
        if self._said_ready:
            return
        if all(member.ready for member in members):
            self._said_ready = True
            self._emit(FleetReady())
        elif not self._said_unready:
            lost = next((m for m in members if m.state in DOWN and not m.ready), None)
            if lost is not None:
                self._said_unready = True
                self._emit(FleetUnready(lost.account))

    def _judge_jobs(self) -> None:
        """End a fleet of jobs once none of them runs and none ever will.

        Every gate has just been looked at: what still waits while nothing moves waits for ever.
        """
        members = self._neighbours.rising
        if any(
            member.state not in DOWN and member.state is not State.WAITING for member in members
        ):
            return
        failed = next((m for m in members if m.state is State.FAILED), None)
        blocked = next((m for m in members if m.state is State.WAITING), None)
        if failed is not None:
            self._finish(FleetDone(1, f"job {failed.account}"))
        elif blocked is not None:
            why = self._neighbours.why_held(blocked)
            self._finish(FleetDone(1, f"job `{blocked.name}` cannot run: {why}"))
        else:
            self._finish(FleetDone(0, "all jobs have finished"))

    def _status(self, member: Instance, stuck: frozenset[InstanceId], now: float | None) -> Status:
        waiting = member.state is State.WAITING and self._phase is not Phase.IDLE
        waits = self._neighbours.waits(member, stuck) if waiting else ()
        closing = self._phase is Phase.STOPPING
        return describe(member, waits, self._now if now is None else now, closing=closing)
