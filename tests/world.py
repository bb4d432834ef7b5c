"""The other side of a supervision core: what its commands would do, kept in books of our own.

Every command is checked when it is given, against the states that were reported until then.
"""

from __future__ import annotations

from collections import defaultdict
from typing import final

from anchor_supervisor.fleet.model import (
    Condition,
    Fleet,
    InstanceId,
    Kind,
    instances,
)
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    CancelSpawn,
    Command,
    Drain,
    FleetDone,
    FleetReady,
    FleetUnready,
    Kill,
    Refresh,
    Remove,
    Report,
    Reshape,
    RunProbe,
    RunStopCommand,
    Signal,
    Spawn,
    UpdateEnded,
)
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetKillRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopCommandFinished,
    Tick,
)
from anchor_supervisor.supervision.lifecycle import TRANSITIONS
from anchor_supervisor.supervision.states import ExitStatus, HealthState, Phase, State
from anchor_supervisor.supervision.status import Status
from run_books import RunBook, ScheduleBook


@final
class World:
    """A fleet, its core, the time, and what really runs."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin with nothing running."""
        self.fleet = fleet
        self.core = Core(fleet)
        self.now = 0.0
        self._heard = 0.0
        self.known = instances(fleet)
        self.states = dict.fromkeys(self.known, State.WAITING)
        self.healths = dict.fromkeys(self.known, HealthState.NONE)
        self.spawning: set[InstanceId] = set()
        self.alive: set[InstanceId] = set()
        self.killed: set[InstanceId] = set()
        self.probing: dict[InstanceId, int] = {}
        self.runs: dict[InstanceId, RunBook] = {}
        self.done: FleetDone | None = None
        self._schedules = ScheduleBook(fleet)
        self._numbers: dict[InstanceId, int] = dict.fromkeys(self.known, 0)
        self._restarts: dict[InstanceId, list[float]] = defaultdict(list)
        self._attempts: dict[InstanceId, int] = dict.fromkeys(self.known, 0)
        self._said: list[type[Command]] = []
        self._fresh = set(self.known)
        self._closing = False
        self._asked_down = False
        self._merciless = False

    # What the world does.

    def tell(self, event: Event) -> list[Command]:
        """Tell the core, and carry out what it commands."""
        match event:
            case FleetStopRequested() | FleetKillRequested():
                self._merciless = self._merciless or isinstance(event, FleetKillRequested)
                self._asked_down = self._asked_down or self.core.phase is not Phase.STOPPING
            case StartRequested(instance=instance) | RestartRequested(instance=instance):
                self._fresh.add(instance)
            case _:
                pass
        self._schedules.hear(event, self.now, self.core.phase)
        self._heard = self.now
        self._closing = self.core.phase is Phase.STOPPING
        commands = self.core.handle(event, self.now)
        for command in commands:
            assert self.done is None, "something was commanded after the end"
            self._perform(command)
        return commands

    def tell_in_vain(self, event: Event) -> None:
        """Tell the core something that must change nothing, at a moment when nothing is due."""
        assert self.tell(event) == []

    def answer_spawn(
        self, instance: InstanceId, failure: str = "", *, permanent: bool = False
    ) -> None:
        """Let a spawn that was commanded succeed or fail."""
        self.spawning.remove(instance)
        if failure:
            self.tell(SpawnFailed(instance, failure, permanent))
        else:
            self.alive.add(instance)
            self.runs[instance] = RunBook(self.fleet.containers[instance.container], self.now)
            self.tell(Spawned(instance, 4000))

    def end(self, instance: InstanceId, status: ExitStatus) -> None:
        """Let a run end."""
        self.alive.remove(instance)
        self.killed.discard(instance)
        run, attempt = self.runs.pop(instance), self._attempts[instance]
        unasked = self.states[instance] is State.RUNNING
        self.tell(Exited(instance, status))
        again = self.states[instance] is State.BACKOFF or self._attempts[instance] > attempt
        assert not (unasked and run.is_last(status) and again)
        assert self.states[instance] is not State.BACKOFF or not run.good(self.now)

    def answer_probe(self, instance: InstanceId, *, ok: bool) -> None:
        """Answer the probe of an instance, even where the answer comes too late."""
        if instance in self.runs:
            self.runs[instance].answer(ok=ok)
        self.tell(ProbeFinished(instance, self.probing.pop(instance), ok, "an answer"))

    def answer_stop_command(self, instance: InstanceId, *, ok: bool) -> None:
        """Let the stop command of an instance end."""
        self.runs[instance].asking = False
        self.tell(StopCommandFinished(instance, ok, "an answer"))

    def reach_deadline(self, late: float = 0.0) -> None:
        """Let time pass until the next deadline, if there is one, and then some."""
        deadline = self.core.next_deadline()
        if deadline is not None:
            self.now = max(self.now, deadline) + late
        self.tell(Tick())

    def yield_to_stop(self, instance: InstanceId, *, patient: bool = False) -> None:
        """Let one more thing happen on the way down: it starts, dies, or time passes."""
        if instance in self.spawning:
            self.answer_spawn(instance)
        elif instance in self.killed:
            self.end(instance, ExitStatus(signal=9))
        elif instance in self.alive or not patient:
            self.reach_deadline()

    # What the core commands, checked as it comes.

    def _perform(self, command: Command) -> None:
        match command:
            case Report():
                self._believe(command)
            case Spawn(instance=instance, attempt=attempt):
                self._spawn(instance, attempt)
            case Signal(instance=instance, signal=signal):
                assert instance in self.alive
                assert signal == self.fleet.containers[instance.container].stop.signal
                self.runs[instance].signal(self.now)
            case Kill(instance=instance):
                assert instance in self.alive
                self.runs[instance].kill(self.now, merciless=self._merciless)
                self.killed.add(instance)
            case RunStopCommand(instance=instance):
                assert instance in self.alive
                self.runs[instance].stop_command(command, self.now)
            case RunProbe(instance=instance, number=number):
                assert instance in self.alive
                self.runs[instance].probe(command)
                assert instance not in self.probing
                assert number > self._numbers[instance]
                self._numbers[instance] = self.probing[instance] = number
            case CancelSpawn(instance=instance):
                assert instance in self.spawning, "only a start under way can be given up"
            case CancelProbe(instance=instance):
                del self.probing[instance]
            case Drain() | Reshape() | Refresh() | Remove() | UpdateEnded():
                raise NotImplementedError
            case FleetReady():
                self._say_once(FleetReady)
                assert all(self._ready(instance) for instance in self.known)
            case FleetUnready(reason=reason):
                self._say_once(FleetUnready)
                assert reason
                assert FleetReady not in self._said
            case FleetDone():
                assert not self.alive
                assert not self.spawning
                assert command.reason
                assert command.exit_code == self._exit_code()
                self.done = command

    def _believe(self, report: Report) -> None:
        """Every report goes on from the one before, along the table."""
        instance = report.instance
        assert report.before is self.states[instance]
        followers = {*TRANSITIONS[report.before].values(), report.before}
        assert report.state in followers
        assert report.reason
        if report.state is State.STOPPING and report.before is not State.STOPPING:
            with_fleet = report.reason.startswith("the fleet is")
            assert with_fleet or not self._closing, "only the fleet's order stops things now"
            if with_fleet and not self._merciless:
                self._check_order(instance)
        self.states[instance] = report.state
        self.healths[instance] = report.health

    def _spawn(self, instance: InstanceId, attempt: int) -> None:
        """One at a time, only through open gates, and never more often than the policy says."""
        assert self.core.phase is not Phase.IDLE
        assert not self._closing
        assert instance not in self.spawning
        assert instance not in self.alive
        assert self.gates_open(instance)
        self.spawning.add(instance)
        restarts = self._restarts[instance]
        if attempt == 1:
            assert instance in self._fresh or self._schedules.scheduled(instance)
            self._fresh.discard(instance)
            restarts.clear()
            self._schedules.run(instance, self.now)
        else:
            assert attempt == self._attempts[instance] + 1
            restarts.append(self.now)
        self._attempts[instance] = attempt
        policy = self.fleet.containers[instance.container].restart
        recent = [at for at in restarts if at > self.now - policy.window]
        assert policy.max is None or len(recent) <= policy.max

    def _check_order(self, instance: InstanceId) -> None:
        """In an ordered stop nothing is asked to end while what depends on it is up."""
        for other in self.known:
            if instance.container in self.fleet.containers[other.container].depends_on:
                assert other not in self.alive
                assert other not in self.spawning

    # What holds between events.

    def check(self) -> None:
        """The core's account agrees with the books, and nothing waits for nothing."""
        statuses = self.core.statuses(self.now)
        for status in statuses:
            instance = status.instance
            assert status.state is self.states[instance]
            assert status.health is self.healths[instance]
            assert status.reason
            assert (status.pid is not None) == (instance in self.alive)
            self._check_state(instance, status)
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > self._heard, "a deadline that has passed is armed"
        if self.core.phase is Phase.DONE:
            assert deadline is None
        else:
            moments = [status.next_at for status in statuses]
            moments += [status.schedule.due_at for status in statuses if status.schedule]
            known = [moment for moment in moments if moment is not None]
            assert deadline == min(known, default=None)
        if self.core.phase is Phase.UP:
            self._check_verdicts()
        if self.done is not None:
            assert self.core.phase is Phase.DONE

    def _check_verdicts(self) -> None:
        """What is true of the whole fleet has been said, and what must end has ended."""
        down = {State.STOPPED, State.COMPLETED, State.FAILED}
        ready = {instance for instance in self.known if self._ready(instance)}
        lost = {i for i in self.known if self.states[i] in down} - ready
        assert len(ready) < len(self.known) or FleetReady in self._said
        assert not lost or self._said, "neither ready nor unready was said"
        assert not self._essentials_failed()
        if self._only_jobs():
            assert set(self.states.values()) - down - {State.WAITING}, "the jobs should have ended"

    def _check_state(self, instance: InstanceId, status: Status) -> None:
        up, coming = instance in self.alive, instance in self.spawning
        deadline = self.core.next_deadline()
        match status.state:
            case State.WAITING:
                assert not up
                assert not coming
                if self.core.phase is Phase.UP and not self._schedules.rests(status):
                    assert not self.gates_open(instance), "a wake-up was lost"
                    assert status.waiting_on
            case State.STARTING:
                assert coming
            case State.RUNNING:
                assert up
                if self.core.phase is Phase.UP:
                    self.runs[instance].check(status, self._heard)
            case State.STOPPING:
                assert up or coming
                assert coming or status.next_at is not None
            case State.BACKOFF:
                assert not up
                assert not coming
                assert deadline is not None
                assert status.next_at is not None
                assert deadline <= status.next_at
            case State.STOPPED | State.COMPLETED | State.FAILED:
                assert not up
                assert not coming
                assert instance not in self.probing
                if self.core.phase is Phase.UP:
                    self._schedules.check_down(status)

    def gates_open(self, instance: InstanceId) -> bool:
        """Whether every dependency is, by the reports, what it must be."""
        return all(
            self._satisfies(condition, other)
            for name, condition in self.fleet.containers[instance.container].depends_on.items()
            for other in self.known
            if other.container == name
        )

    def _satisfies(self, condition: Condition, instance: InstanceId) -> bool:
        state, health = self.states[instance], self.healths[instance]
        if condition is Condition.STARTED:
            return state in {State.RUNNING, State.COMPLETED}
        if condition is Condition.HEALTHY:
            return (state, health) == (State.RUNNING, HealthState.HEALTHY)
        return state is State.COMPLETED

    def _ready(self, instance: InstanceId) -> bool:
        container = self.fleet.containers[instance.container]
        if container.kind is Kind.JOB:
            return container.schedule is not None or self.states[instance] is State.COMPLETED
        asks = container.health is not None or container.startup is not None
        wanted = HealthState.HEALTHY if asks else HealthState.NONE
        return self.states[instance] is State.RUNNING and self.healths[instance] is wanted

    def _essentials_failed(self) -> bool:
        return any(
            self.states[instance] is State.FAILED
            for instance in self.known
            if self.fleet.containers[instance.container].essential
        )

    def _only_jobs(self) -> bool:
        return all(
            container.kind is Kind.JOB and container.schedule is None
            for container in self.fleet.containers.values()
        )

    def _exit_code(self) -> int:
        """Return what the end must be called: 0 on request, else 1 where something was lost."""
        if self._asked_down:
            return 0
        left = {State.FAILED, State.WAITING} & set(self.states.values())
        return 1 if self._essentials_failed() or left else 0

    def _say_once(self, command: type[Command]) -> None:
        assert command not in self._said
        self._said.append(command)
