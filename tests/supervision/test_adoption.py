"""An instance that is made into something else again and again, at any moment of its life."""

from __future__ import annotations

import os

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anchor_supervisor.fleet.model import Container, InstanceId, Kind
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    CancelSpawn,
    Command,
    Drain,
    Kill,
    Report,
    RunProbe,
    RunStopCommand,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, TRANSITIONS
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State
from strategies import containers, exit_statuses

WEB = InstanceId("web")


class AnyChanges(RuleBasedStateMachine):
    """One instance without neighbours, whose gates are always open."""

    member: Instance

    @initialize(container=containers("web"))
    def begin(self, container: Container) -> None:
        """Let it join a fleet that is up."""
        self.now = 0.0
        self.probing: int | None = None
        self.asking = False
        self.state = State.WAITING
        self.member = Instance(WEB, container, self._perform)
        self.member.begin(self.now, 1.7e9)
        self._settle()

    def _perform(self, command: Command) -> None:
        """Take a command, and check that it means something now."""
        up = self.member.life.pid is not None
        match command:
            case Report():
                assert command.before is self.state
                assert command.state in {*TRANSITIONS[self.state].values(), self.state}
                self.state = command.state
            case Spawn() | CancelSpawn():
                assert not up
            case RunProbe(number=number):
                assert up
                assert self.probing is None
                self.probing = number
            case CancelProbe():
                assert self.probing is not None
                self.probing = None
            case RunStopCommand():
                assert up
                self.asking = True
            case Signal() | Kill() | Drain():
                assert up
            case _:
                raise AssertionError(command)

    def _settle(self) -> None:
        """Do what a core does after every event."""
        self.member.expire(self.now)
        self.member.take_queued(self.now)
        if self.member.may_launch(self.now):
            self.member.launch(self.now)

    @rule(container=containers("web"))
    def adopt(self, container: Container) -> None:
        """It is to be something else; its kind changes only while it is down."""
        kind = container.kind if self.member.state in DOWN else self.member.container.kind
        schedule = container.schedule if kind is Kind.JOB else None
        pid, started_at = self.member.life.pid, self.member.life.started_at
        health, restarts = self.member.health, self.member.life.ledger.restarts
        stop = self.member.life.stopping
        progress = stop.stage, stop.due_at, stop.sequel, stop.why
        stopping = self.state is State.STOPPING
        self.member.adopt(evolve(container, kind=kind, schedule=schedule), self.now)
        assert (self.member.life.pid, self.member.life.started_at) == (pid, started_at)
        assert self.member.life.ledger.restarts == restarts
        assert not stopping or progress == (stop.stage, stop.due_at, stop.sequel, stop.why)
        if self.member.life.pid is None:
            assert self.member.health is health is HealthState.NONE
        self._settle()

    @rule()
    def adopt_the_same(self) -> None:
        """What is told again changes nothing, at any moment."""
        told = len(self.member.life.history), self.member.reason, self.probing
        deadline = self.member.deadline()
        self.member.adopt(evolve(self.member.container), self.now)
        assert (len(self.member.life.history), self.member.reason, self.probing) == told
        assert self.member.deadline() == deadline

    @precondition(lambda self: self.member.life.spawning)
    @rule(ok=st.booleans(), permanent=st.booleans())
    def answer_spawn(self, ok: bool, permanent: bool) -> None:
        """Its start succeeds, or fails."""
        if ok:
            self.member.life.spawned(self.now, 4000)
        else:
            self.member.life.spawn_failed(self.now, "no memory", permanent=permanent)
        self._settle()

    @precondition(lambda self: self.member.life.pid is not None)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """It ends."""
        self.asking = False
        self.member.life.exited(self.now, data.draw(exit_statuses))
        assert self.probing is None
        self._settle()

    @precondition(lambda self: self.probing is not None)
    @rule(ok=st.booleans())
    def answer_probe(self, ok: bool) -> None:
        """A probe has its answer."""
        number, self.probing = self.probing, None
        assert number is not None
        self.member.life.probe_finished(self.now, number, ok=ok, output="")
        self._settle()

    @precondition(lambda self: self.asking)
    @rule(ok=st.booleans())
    def answer_stop_command(self, ok: bool) -> None:
        """Its stop command has ended."""
        self.asking = False
        self.member.life.stop_command_finished(self.now, ok=ok, output="")
        self._settle()

    @rule(seconds=st.sampled_from([0.0, 0.05, 3.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self._settle()

    @rule()
    def reach_deadline(self) -> None:
        """Time passes until something is due."""
        self.now = max(self.now, self.member.deadline() or self.now)
        self._settle()

    @rule(drain=st.sampled_from([0.0, 2.0]), verb=st.sampled_from(["stop", "restart", "want"]))
    def interfere(self, drain: float, verb: str) -> None:
        """An operator or an update asks for something."""
        match verb:
            case "stop":
                self.member.stop(self.now, "stop requested", drain=drain)
            case "restart":
                self.member.restart(self.now, "restart requested", drain=drain)
            case _:
                self.member.want(self.now, "start requested")
        self._settle()

    @rule(wall=st.sampled_from([1.7e9, 1.7e9 + 3600, 1.6e9]))
    def set_clock(self, wall: float) -> None:
        """Somebody sets the clock on the wall."""
        self.member.set_clock(self.now, wall)
        self._settle()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """What is due has been done, and health is known exactly where it is asked for."""
        if not hasattr(self, "member"):
            return
        deadline = self.member.deadline()
        assert deadline is None or deadline > self.now
        assert self.member.state is self.state
        if self.state is State.RUNNING:
            asks = self.member.life.check.asks
            assert (self.member.health is HealthState.NONE) != asks
        timetable = self.member.life.timetable
        if timetable is not None:
            busy = self.state not in DOWN and not self.member.resting
            assert timetable.called == busy
            assert timetable.due_at is not None or timetable.suspended or busy
        if self.member.health in {HealthState.STARTING, HealthState.UNHEALTHY}:
            assert deadline is not None

    def teardown(self) -> None:
        """Whatever it was made into, it can be brought down."""
        if not hasattr(self, "member"):
            return
        self.member.close(self.now, "the fleet is stopping")
        self.member.kill(self.now, "the fleet is being killed")
        if self.member.life.spawning:
            self.member.life.spawned(self.now, 4000)
        if self.member.life.pid is not None:
            self.member.life.exited(self.now, ExitStatus(signal=9))
        assert self.member.state in DOWN
        assert self.member.deadline() is None


TestAnyChanges = AnyChanges.TestCase
TestAnyChanges.settings = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
