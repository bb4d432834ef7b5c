"""Scheduled jobs: times that come during a run, operators, and schedules that are changed."""

from __future__ import annotations

import pytest
from attrs import evolve

from anchor_supervisor.fleet.model import Container
from anchor_supervisor.fleet.schedule_model import Overlap
from anchor_supervisor.supervision.commands import (
    CancelSpawn,
    Command,
    FleetDone,
    Report,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.events import (
    RestartRequested,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.states import ExitStatus, State
from playbook import Playbook, job, policy, service, the
from schedules import HOUR, LOAD, RUN, berlin, clock, cron, every, started


def test_skip() -> None:
    """A time that comes during a run is left out, and told once; the next is on the grid."""
    play = started(every(60.0), 0.0)
    play.up("load")
    status = play.status("load")
    assert (status.next, status.next_at) == ("its next run is skipped if this one goes on", 60.0)
    assert play.wait() == []
    assert play.reason("load") == "started; a run was skipped, as this one goes on"
    assert play.core.next_deadline() is None
    play.now = 250.0
    play.exits("load", 0)
    status = play.status("load")
    assert (status.state, status.next_at) == (State.COMPLETED, 300.0)
    assert status.schedule is not None
    assert status.schedule.skipped == 1


def test_queue() -> None:
    """One run is queued, however many times pass, and begins when the one under way has ended."""
    play = started(every(60.0, Overlap.QUEUE), 0.0)
    play.up("load")
    assert play.wait() == []
    status = play.status("load")
    assert status.reason == "started; a run is queued until this one ends"
    assert status.schedule is not None
    assert (status.schedule.queued, status.next_at) == (True, None)
    play.now = 250.0
    assert play.exits("load", 1) == RUN
    states = [report.state for report in play.reports[-3:]]
    assert states == [State.FAILED, State.WAITING, State.STARTING]
    assert play.reports[-2].reason == "its run was queued"
    play.up("load")
    play.now = 260.0
    assert play.exits("load", 0) == []
    assert play.core.next_deadline() == 300.0


def test_queued_run_comes_after_those_that_waited() -> None:
    """Who waits for the job to be completed sees it so, before the queued run begins."""
    play = Playbook(every(60.0, Overlap.QUEUE), service("web", {"load": "completed"}))
    play.start()
    play.up("load")
    play.wait()
    assert play.exits("load", 0) == [Spawn(the("web"), 1), *RUN]


def test_essential_job_fails_although_a_run_is_queued() -> None:
    """A failure that ends the fleet does so."""
    load = evolve(every(60.0, Overlap.QUEUE), essential=True)
    play = Playbook(load, service("web"))
    play.start()
    play.up("load")
    play.up("web")
    play.wait()
    assert play.exits("load", 1) == [Signal(the("web"), "TERM")]
    (done,) = play.exits("web", 0)
    assert isinstance(done, FleetDone)
    assert done.exit_code == 1


@pytest.mark.parametrize("overlap", [Overlap.QUEUE, Overlap.REPLACE])
def test_time_that_passed_unseen(overlap: Overlap) -> None:
    """A run that ended in the same breath as its time came is followed by the next one."""
    play = started(every(60.0, overlap), 0.0)
    play.up("load")
    play.now = 61.0
    assert play.exits("load", 0) == RUN


def test_replace() -> None:
    """The run under way is stopped, and the next begins afresh when it is gone."""
    play = started(every(60.0, Overlap.REPLACE), 0.0)
    play.up("load")
    assert play.status("load").next == "is replaced by its next run"
    assert play.wait() == [Signal(LOAD, "TERM")]
    assert play.reason("load") == "replaced by its next run"
    assert play.exits("load", signal=15) == RUN
    play.up("load")
    assert play.core.next_deadline() == 120.0


def test_replace_before_it_runs() -> None:
    """A start under way is given up; a stop under way leads to the next run, and is told once."""
    play = started(every(60.0, Overlap.REPLACE), 0.0)
    assert play.tell(Tick(), after=60.0) == [CancelSpawn(LOAD)]
    told = len(play.reports)
    assert play.tell(Tick(), after=60.0) == []
    assert len(play.reports) == told
    assert play.tell(SpawnFailed(LOAD, "no memory")) == RUN


@pytest.mark.parametrize("overlap", Overlap)
def test_time_that_comes_between_attempts(overlap: Overlap) -> None:
    """Attempts belong to one run: the next time is skipped, queued, or begins afresh at once."""
    load = evolve(every(40.0, overlap), restart=policy(delay=50.0, most=1))
    play = started(load, 0.0)
    play.up("load")
    play.exits("load", 1)
    assert play.state("load") is State.BACKOFF
    if overlap is Overlap.REPLACE:
        assert play.wait() == RUN
        assert play.now == 40.0
        return
    assert play.wait() == []
    assert play.wait() == [Spawn(LOAD, 2)]
    assert play.now == 50.0
    play.up("load")
    assert play.exits("load", 1) == (RUN if overlap is Overlap.QUEUE else [])


def test_each_run_has_all_its_attempts() -> None:
    """The restarts of one run are not held against the next."""
    play = started(evolve(every(60.0), restart=policy(most=1)), 0.0)
    for _ in range(3):
        play.up("load")
        play.exits("load", 1)
        assert play.wait() == [Spawn(LOAD, 2)]
        play.up("load")
        play.exits("load", 1)
        assert play.state("load") is State.FAILED
        assert play.wait() == RUN


@pytest.mark.parametrize("when", ["resting", "running", "completed", "stopped"])
def test_stop_suspends_until_start(when: str) -> None:
    """An operator's stop ends the schedule until a start, which runs the job at once."""
    wall = berlin("2026-06-01")
    play = started(cron("0 3 * * *"), wall)
    if when != "resting":
        play.wait()
        play.up("load")
    if when == "completed":
        play.exits("load", 0)
    play.tell(StopRequested(LOAD))
    if when in {"running", "stopped"}:
        play.exits("load", 0)
    done = State.COMPLETED if when == "completed" else State.STOPPED
    status = play.status("load")
    assert (status.state, status.next) == (done, None)
    assert status.schedule is not None
    assert status.schedule.suspended
    assert "stop requested" in status.reason
    assert play.core.next_deadline() is None
    told = len(play.reports)
    assert play.tell(StopRequested(LOAD)) == []
    assert len(play.reports) == told
    assert play.tell(StartRequested(LOAD)) == RUN
    play.up("load")
    play.exits("load", 0)
    assert clock(wall + (play.core.next_deadline() or 0)).endswith("03:00")


@pytest.mark.parametrize("verb", [StartRequested, RestartRequested])
def test_start_of_what_rests(verb: type[StartRequested] | type[RestartRequested]) -> None:
    """An operator need not wait for the time; the schedule goes on beside it."""
    play = started(cron("0 3 * * *"), berlin("2026-06-01", "02:00"))
    assert play.tell(verb(LOAD)) == RUN
    play.up("load")
    play.exits("load", 0)
    assert play.wait() == RUN
    assert play.now == HOUR


def test_start_during_a_stop_resumes() -> None:
    """A stop that an operator takes back suspends nothing."""
    play = started(every(60.0), 0.0)
    play.up("load")
    play.tell(StopRequested(LOAD))
    play.tell(StartRequested(LOAD))
    assert play.exits("load", 0) == RUN
    assert play.core.next_deadline() == 60.0


def alone(container: Container) -> tuple[Instance, list[Report]]:
    """Make one instance that is up by itself; return it and where its reports go."""
    reports: list[Report] = []

    def hear(command: Command) -> None:
        if isinstance(command, Report):
            reports.append(command)

    member = Instance(LOAD, container, hear)
    member.begin(0.0, berlin("2026-06-01", "02:00"))
    return member, reports


def run(member: Instance, now: float) -> None:
    """Let one run pass."""
    member.launch(now)
    member.life.spawned(now, 1)
    member.life.exited(now, ExitStatus(0))


def test_adopted_schedule_counts_from_now() -> None:
    """Another schedule begins with its next time, not with a run."""
    member, _ = alone(cron("0 3 * * *"))
    assert member.deadline() == HOUR
    member.adopt(cron("30 2 * * *"), 60.0)
    assert (member.resting, member.deadline()) == (True, HOUR / 2)
    member.adopt(every(100.0), 150.0)
    assert (member.resting, member.deadline()) == (True, 200.0)


def test_adopted_schedule_begins_and_ends() -> None:
    """A job that gets a schedule runs again; one that loses it does not, and rests no longer."""
    member, _ = alone(job("load"))
    run(member, 0.0)
    assert member.over
    member.adopt(cron("0 3 * * *"), 10.0)
    assert (member.over, member.state, member.deadline()) == (False, State.COMPLETED, HOUR)
    member.expire(HOUR)
    assert member.may_launch(HOUR)
    run(member, HOUR)
    member.adopt(job("load"), HOUR + 1)
    assert (member.over, member.deadline()) == (True, None)
    resting, _ = alone(cron("0 3 * * *"))
    assert not resting.may_launch(0.0)
    resting.adopt(job("load"), 0.0)
    assert resting.may_launch(0.0)


def test_adopted_schedule_spares_the_run_under_way() -> None:
    """A run that is under way when its job gets a schedule is a run like any other."""
    member, reports = alone(job("load"))
    member.launch(0.0)
    member.life.spawned(0.0, 1)
    member.adopt(every(60.0), 1.0)
    member.expire(61.0)
    assert reports[-1].reason == "started; a run was skipped, as this one goes on"
    member.life.exited(70.0, ExitStatus(0))
    assert member.deadline() == 121.0


def test_renewed_job_keeps_its_times() -> None:
    """What a job is made of changes nothing about when it runs; without schedule it runs now."""
    scheduled, reports = alone(cron("0 3 * * *"))
    told = len(reports)
    scheduled.renew(1.0, "changed")
    assert (scheduled.resting, len(reports)) == (True, told)
    plain, _ = alone(job("load"))
    run(plain, 0.0)
    plain.renew(1.0, "changed")
    assert plain.may_launch(1.0)
