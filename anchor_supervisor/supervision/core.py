"""The fleet as a whole: events in, commands out.

THE LAW. No clock, no input or output, no log, no random: time is the argument `now`, and all that
is to happen is in the list that `handle` returns. Whatever arrives, in whatever order, late or
twice, `handle` does not raise; what means nothing now is dropped.

Every call goes the same way: the event, then what is due by `now`, then the neighbours: starts
whose gates are open, stops whose turn has come, and what that means for the fleet. So a dependent
is started by the very call in which its dependency became ready.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import final

from anchor_supervisor.fleet.model import Fleet, InstanceId, Kind, instances
from anchor_supervisor.supervision import order
from anchor_supervisor.supervision.commands import Command, FleetDone, FleetReady, FleetUnready
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, HELD
from anchor_supervisor.supervision.order import Order, Wait
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.supervision.status import Status, describe


@final
class Core:
    """The supervisor's mind. One writer: it is not for use by two tasks at once."""

    def __init__(self, fleet: Fleet) -> None:
        """Take a checked fleet; raise SupervisionBug where its dependencies are not a graph."""
        self._fleet = fleet
        self._order = Order(fleet)
        self._out: list[Command] = []
        self._now = float("-inf")
        self._members: dict[InstanceId, Instance] = {
            identity: Instance(identity, fleet.containers[identity.container], self._out.append)
            for identity in instances(fleet)
        }
        self._replicas: dict[str, tuple[Instance, ...]] = {
            name: tuple(m for m in self._members.values() if m.id.container == name)
            for name in self._order.containers
        }
        self._rising = tuple(m for name in self._order.containers for m in self._replicas[name])
        self._phase = Phase.IDLE
        self._said_ready = False
        self._said_unready = False
        self._exit_code = 0
        self._exit_reason = ""

    @property
    def phase(self) -> Phase:
        """Where in its life the whole fleet is; operators are heard only while it is `up`."""
        return self._phase

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event at monotonic second `now`; return what is to be done, in order."""
        if self._phase is Phase.DONE:
            return []
        now = self._now = max(now, self._now)
        self._take(event, now)
        self._expire(now)
        self._settle(now)
        commands = list(self._out)
        self._out.clear()
        return commands

    def next_deadline(self) -> float | None:
        """Return the monotonic second at which a Tick is wanted at the latest, if at all."""
        if self._phase is Phase.DONE:
            return None
        deadlines = (member.deadline() for member in self._members.values())
        return min((at for at in deadlines if at is not None), default=None)

    def resolve(self, name: str) -> tuple[InstanceId, ...]:
        """Return what an operator means by `web` (every replica) or `web.2`; nothing if unknown."""
        if name in self._replicas:
            return tuple(member.id for member in self._replicas[name])
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
        return self._status(self._members[instance], self._stuck(), now)

    def statuses(self, now: float | None = None) -> tuple[Status, ...]:
        """Return all that is known of every instance, in the file's order."""
        stuck = self._stuck()
        return tuple(self._status(member, stuck, now) for member in self._members.values())

    # The event.

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Tick():
                pass
            case FleetStartRequested():
                if self._phase is Phase.IDLE:
                    self._phase = Phase.UP
                    for member in self._members.values():
                        member.since = now
            case FleetStopRequested():
                self._begin_stop(now, 0, "stopped on request")
            case FleetKillRequested():
                self._begin_stop(now, 0, "killed on request")
                for member in self._members.values():
                    member.kill(now, "the fleet is being killed")
            case StartRequested() | StopRequested() | RestartRequested():
                if self._phase is Phase.UP:
                    self._obey(event, now)
            case Spawned() | SpawnFailed() | Exited() | ProbeFinished():
                self._note(event, now)

    def _obey(self, event: StartRequested | StopRequested | RestartRequested, now: float) -> None:
        member = self._members.get(event.instance)
        if member is None:
            return
        match event:
            case StartRequested():
                member.want(now, "start requested")
            case StopRequested():
                member.stop(now, "stop requested")
            case RestartRequested():
                member.restart(now, "restart requested")

    def _note(self, event: Spawned | SpawnFailed | Exited | ProbeFinished, now: float) -> None:
        member = self._members.get(event.instance)
        if member is None:
            return
        match event:
            case Spawned(pid=pid):
                member.spawned(now, pid)
            case SpawnFailed(reason=reason, permanent=permanent):
                member.spawn_failed(now, reason, permanent=permanent)
            case Exited(status=status):
                member.exited(now, status)
            case ProbeFinished(number=number, ok=ok, output=output):
                member.probe_finished(now, number, ok=ok, output=output)

    def _expire(self, now: float) -> None:
        for member in self._members.values():
            deadline = member.deadline()
            if deadline is not None and deadline <= now:
                member.expire(now)

    # The neighbours.

    def _settle(self, now: float) -> None:
        if self._phase is Phase.UP:
            self._launch_what_can(now)
            self._judge(now)
        if self._phase is Phase.STOPPING:
            self._stop_what_can(now)

    def _launch_what_can(self, now: float) -> None:
        for member in self._rising:
            if member.state not in HELD or (member.retry_at is not None and member.retry_at > now):
                continue
            if self._gates_open(member):
                member.launch(now)
            else:
                member.hold(now, partial(self._why_held, member))

    def _stop_what_can(self, now: float) -> None:
        for member in reversed(self._rising):
            if member.state in {State.STARTING, State.RUNNING} and self._dependents_down(member):
                member.stop(now, "the fleet is stopping")
        if all(member.state in DOWN for member in self._rising):
            self._finish(self._exit_code, self._exit_reason)

    def _gates_open(self, member: Instance) -> bool:
        return all(
            order.holds(condition, replica.state, replica.health)
            for name, condition in member.container.depends_on.items()
            for replica in self._replicas[name]
        )

    def _dependents_down(self, member: Instance) -> bool:
        return all(
            replica.state in DOWN
            for name in self._order.dependents[member.id.container]
            for replica in self._replicas[name]
        )

    def _waits(self, member: Instance, stuck: frozenset[InstanceId]) -> tuple[Wait, ...]:
        """Return the gates of this instance that are closed."""
        return tuple(
            Wait(
                name,
                condition,
                replica.id,
                order.present(self._name(replica), replica.state, replica.health),
                replica.id in stuck,
            )
            for name, condition in member.container.depends_on.items()
            for replica in self._replicas[name]
            if not order.holds(condition, replica.state, replica.health)
        )

    def _why_held(self, member: Instance) -> str:
        return "; ".join(map(str, self._waits(member, self._stuck())))

    def _stuck(self) -> frozenset[InstanceId]:
        """Return the instances that will not move until an operator acts."""
        stuck: set[InstanceId] = set()
        for member in self._rising:
            if member.state in DOWN or (
                member.state is State.WAITING
                and any(
                    replica.id in stuck
                    and not order.holds(condition, replica.state, replica.health)
                    for name, condition in member.container.depends_on.items()
                    for replica in self._replicas[name]
                )
            ):
                stuck.add(member.id)
        return frozenset(stuck)

    # What it means for the fleet.

    def _judge(self, now: float) -> None:
        """Say once that the fleet is ready, or that it cannot be; end it where that is due."""
        if not self._said_ready:
            self._judge_readiness()
        for member in self._rising:
            if member.container.essential and member.state is State.FAILED:
                why = f"essential container {self._account(member)}"
                self._begin_stop(now, 1, why)
                return
        if all(member.container.kind is Kind.JOB for member in self._rising):
            self._judge_jobs()

    def _judge_readiness(self) -> None:
        if all(member.ready for member in self._rising):
            self._said_ready = True
            self._out.append(FleetReady())
        elif not self._said_unready:
            for member in self._rising:
                if member.state in DOWN and not member.ready:
                    self._said_unready = True
                    self._out.append(FleetUnready(self._account(member)))
                    return

    def _judge_jobs(self) -> None:
        """End a fleet of jobs once none of them runs and none ever will."""
        stuck = self._stuck()
        if all(member.id in stuck for member in self._rising):
            losses = [*self._losses()]
            self._finish(1 if losses else 0, losses[0] if losses else "all jobs have finished")

    def _losses(self) -> Iterator[str]:
        """Tell of the jobs that failed, then of those that can never run."""
        for member in self._rising:
            if member.state is State.FAILED:
                yield f"job {self._account(member)}"
        for member in self._rising:
            if member.state is State.WAITING:
                yield f"job `{self._name(member)}` cannot run: {self._why_held(member)}"

    def _begin_stop(self, now: float, exit_code: int, reason: str) -> None:
        """Turn to stopping; the first cause is the one that counts."""
        if self._phase not in {Phase.IDLE, Phase.UP}:
            return
        self._phase = Phase.STOPPING
        self._exit_code, self._exit_reason = exit_code, reason
        for member in self._rising:
            member.close(now, "the fleet is stopping")

    def _finish(self, exit_code: int, reason: str) -> None:
        self._phase = Phase.DONE
        self._out.append(FleetDone(exit_code, reason))

    # Words.

    def _name(self, member: Instance) -> str:
        return str(member.id) if member.container.replicas > 1 else member.id.container

    def _account(self, member: Instance) -> str:
        """Return ``` `db` has failed: gave up ...```."""
        state = "has failed" if member.state is State.FAILED else f"is {member.state}"
        return f"`{self._name(member)}` {state}: {member.reason}"

    def _status(self, member: Instance, stuck: frozenset[InstanceId], now: float | None) -> Status:
        moment = self._now if now is None else now
        return describe(
            member, self._waits(member, stuck), moment, closing=self._phase is Phase.STOPPING
        )
