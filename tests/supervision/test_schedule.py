"""Schedules: at what times a job runs, on whatever calendar and clock."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.supervision.commands import (
    FleetDone,
    FleetReady,
    Spawn,
)
from anchor_supervisor.supervision.events import (
    ClockSet,
    FleetStartRequested,
    FleetStopRequested,
    StartRequested,
    Tick,
)
from anchor_supervisor.supervision.instance import RESTING
from anchor_supervisor.supervision.schedule import CORRECTION, Timetable
from anchor_supervisor.supervision.states import State
from playbook import Playbook, job, service, the
from schedules import BERLIN, HOUR, LOAD, RUN, berlin, cron, every, runs_of, started


def test_every_runs_at_once_and_on_its_grid() -> None:
    """The first run comes with the fleet, the others on a grid from there, whatever they take."""
    play = Playbook(every(60.0), service("web"))
    assert play.start() == [*RUN, Spawn(the("web"), 1)]
    play.up("load")
    assert play.up("web") == [FleetReady()]
    play.now = 7.0
    play.exits("load", 0)
    status = play.status("load")
    assert (status.state, status.next, status.next_at) == (State.COMPLETED, "runs again", 60.0)
    for start in (60.0, 120.0, 180.0):
        assert play.wait() == RUN
        assert play.now == start
        play.up("load")
        play.now += 31.0
        play.exits("load", 1 if start == 120.0 else 0)
        assert play.state("load") is (State.FAILED if start == 120.0 else State.COMPLETED)


def test_every_waits_for_its_gates() -> None:
    """A run whose time has come waits for its dependencies; more times do not make it two."""
    load = evolve(every(60.0), depends_on=job("load", {"web": "started"}).depends_on)
    play = Playbook(load, service("web"))
    assert play.start() == [Spawn(the("web"), 1)]
    status = play.status("load")
    assert status.next == "starts once `web` is started"
    for _ in range(2):
        assert play.tell(Tick(), after=60.0) == []
    assert play.up("web") == [FleetReady(), *RUN]
    play.up("load")
    play.exits("load", 0)
    assert play.core.next_deadline() == 180.0


def test_every_seven_seconds_for_a_day() -> None:
    """A job runs at the very second that it should, after a day as at the beginning."""
    play = started(every(7.0), 0.0)
    play.up("load")
    play.exits("load", 0)
    for second in range(7, 24 * 3600, 7):
        assert play.wait() == RUN
        assert play.now == second
        play.up("load")
        play.exits("load", 0)


def test_cron_waits_for_its_time() -> None:
    """Before its first time a job waits, without holding the fleet up; then it runs."""
    play = Playbook(cron("0 3 * * *"))
    assert play.tell(FleetStartRequested(berlin("2026-06-01", "02:59"))) == [FleetReady()]
    status = play.status("load")
    assert (status.state, status.reason, status.since) == (State.WAITING, RESTING, 0.0)
    assert (status.next, status.next_at) == ("runs", 60.0)
    assert play.wait() == RUN
    assert play.reports[-1].reason == "first attempt"
    play.up("load")
    play.exits("load", 0)
    assert play.status("load").next_at == 60.0 + 24 * HOUR
    assert play.wait() == RUN
    assert [report.state for report in play.reports[-2:]] == [State.WAITING, State.STARTING]
    assert play.reports[-2].reason == "its time has come"


def test_cron_on_an_ordinary_day() -> None:
    """A job runs at its times and at no others."""
    wall = berlin("2026-06-01")
    play = started(cron("15,45 8-9 * * *"), wall)
    assert runs_of(play, wall, berlin("2026-06-02")) == [
        "01 08:15",
        "01 08:45",
        "01 09:15",
        "01 09:45",
    ]


def test_cron_on_the_day_that_lacks_an_hour() -> None:
    """In spring a job of the hour that is left out runs when it would have been over; once."""
    wall = berlin("2026-03-28", "12:00")
    play = started(cron("30 2 * * *"), wall)
    assert runs_of(play, wall, berlin("2026-03-31")) == ["29 03:00", "30 02:30"]
    play = started(cron("0 * * * *"), wall)
    times = runs_of(play, wall, berlin("2026-03-30", "00:30"))
    assert times[11:17] == ["29 00:00", "29 01:00", "29 03:00", "29 04:00", "29 05:00", "29 06:00"]


def test_cron_on_the_day_that_has_an_hour_twice() -> None:
    """In autumn a job of the hour that comes twice runs once; an hourly one, twice."""
    wall = berlin("2026-10-24", "12:00")
    play = started(cron("30 2 * * *"), wall)
    assert runs_of(play, wall, berlin("2026-10-27")) == ["25 02:30", "26 02:30"]
    play = started(cron("*/30 * * * *"), wall)
    times = runs_of(play, wall, berlin("2026-10-25", "03:15"))
    assert times[-5:] == ["25 02:00", "25 02:30", "25 02:00", "25 02:30", "25 03:00"]
    assert len(runs_of(started(cron("0 * * * *"), wall), wall, wall + 24 * HOUR)) == 24


def test_cron_that_starts_in_the_second_passage() -> None:
    """When an hour comes the second time, a time that is run the first time is tomorrow's."""
    wall = berlin("2026-10-25", "02:10", again=True)
    play = started(cron("30 2 * * *"), wall)
    assert runs_of(play, wall, wall + 25 * HOUR) == ["26 02:30"]


def test_cron_that_never_comes() -> None:
    """A time that no calendar has is waited for without a deadline."""
    play = started(cron("0 0 */100 * MON#5"), 0.0)
    status = play.status("load")
    assert (status.state, status.next, status.next_at) == (State.WAITING, None, None)


@pytest.mark.parametrize(
    ("catch_up", "last_run", "runs"),
    [
        (True, berlin("2026-06-01", "03:00"), True),
        (True, berlin("2026-06-02", "03:00"), False),
        (True, None, False),
        (False, berlin("2026-06-01", "03:00"), False),
    ],
)
def test_catch_up_at_the_start(catch_up: bool, last_run: float | None, runs: bool) -> None:
    """A time that passed while no supervisor ran is made up for, where that is wanted; once."""
    wall = berlin("2026-06-02", "12:00")
    play = started(cron("0 3 * * *", catch_up=catch_up), wall, last_run)
    assert (play.state("load") is State.STARTING) == runs
    if runs:
        play.up("load")
        play.exits("load", 0)
    assert runs_of(play, wall, berlin("2026-06-03", "12:00")) == ["03 03:00"]


def test_scheduled_jobs_do_not_end_the_fleet() -> None:
    """A fleet of jobs of which one is scheduled goes on until it is stopped, and is quiet then."""
    play = Playbook(every(60.0), job("once"))
    play.start()
    for name in ("load", "once"):
        play.up(name)
        commands = play.exits(name, 0)
    assert commands == [FleetReady()]
    assert play.tell(FleetStopRequested()) == [FleetDone(0, "stopped on request")]
    assert play.core.next_deadline() is None


def test_fleet_stop_ends_the_schedule() -> None:
    """While the fleet goes down no run begins, and none is promised."""
    load = every(1.0, Overlap.QUEUE)
    play = Playbook(load, service("web"))
    play.start()
    play.up("load")
    play.up("web")
    play.wait()
    play.tell(FleetStopRequested())
    assert play.exits("load", 0) == []
    assert play.status("load").next is None
    assert play.tell(Tick(), after=5.0) == []
    assert play.exits("web", 0) == [FleetDone(0, "stopped on request")]


def test_dependents_of_a_job_that_runs_again_are_not_lost() -> None:
    """What waits for a scheduled job that failed waits for its next run, and needs no operator."""
    play = Playbook(every(60.0), service("web", {"load": "completed"}))
    play.start()
    play.up("load")
    play.exits("load", 1)
    (wait,) = play.status("web").waiting_on
    assert not wait.dead
    play.wait()
    play.up("load")
    assert play.exits("load", 0) == [Spawn(the("web"), 1)]


def test_clock_that_is_put_right_loses_no_run() -> None:
    """A time that the clock jumps over by less than three hours has come with the jump."""
    wall = berlin("2026-06-01", "02:30")
    play = started(cron("0 3 * * *"), wall)
    assert play.tell(ClockSet(wall + HOUR), after=60.0) == RUN
    play.up("load")
    play.exits("load", 0)
    assert runs_of(play, wall + HOUR, berlin("2026-06-02", "12:00")) == ["02 03:00"]


def test_clock_that_is_put_right_repeats_no_run() -> None:
    """A clock that goes back by less than three hours does not bring back what has run."""
    wall = berlin("2026-06-01", "02:59")
    play = started(cron("0 3 * * *"), wall)
    play.wait()
    play.up("load")
    play.exits("load", 0)
    assert play.tell(ClockSet(wall - HOUR)) == []
    assert runs_of(play, wall - HOUR, berlin("2026-06-02", "12:00")) == ["02 03:00"]


@pytest.mark.parametrize("catch_up", [False, True])
def test_clock_that_was_wrong_altogether(catch_up: bool) -> None:
    """After a large step forward the times count from its new reading, unless caught up."""
    play = started(cron("0 3 * * *", catch_up=catch_up), 0.0)
    wall = berlin("2026-06-01", "12:00")
    assert play.tell(ClockSet(wall)) == (RUN if catch_up else [])
    if catch_up:
        play.up("load")
        play.exits("load", 0)
    assert runs_of(play, wall, berlin("2026-06-02", "12:00")) == ["02 03:00"]


def test_clock_that_was_far_ahead() -> None:
    """A large step back starts the times afresh: nobody waits for years."""
    ahead = berlin("2030-06-01", "02:59")
    play = started(cron("0 3 * * *"), ahead)
    play.wait()
    play.up("load")
    play.exits("load", 0)
    wall = berlin("2026-06-01", "02:00")
    assert play.tell(ClockSet(wall)) == []
    assert runs_of(play, wall, berlin("2026-06-02", "12:00")) == ["01 03:00", "02 03:00"]


def test_clock_does_not_move_the_grid() -> None:
    """`every` is a distance, and no clock changes it."""
    play = started(every(60.0), 0.0)
    play.up("load")
    play.exits("load", 0)
    assert play.tell(ClockSet(1e9), after=1.0) == []
    assert play.core.next_deadline() == 60.0


def test_clock_is_set_during_a_run() -> None:
    """A time that comes by a step of the clock during a run is treated like any other."""
    wall = berlin("2026-06-01", "02:30")
    play = started(cron("0 3 * * *", Overlap.QUEUE), wall)
    play.tell(StartRequested(LOAD))
    play.up("load")
    assert play.tell(ClockSet(wall + HOUR)) == []
    assert play.exits("load", 0) == RUN


@given(
    schedule=st.one_of(
        st.builds(Schedule, every=st.floats(0.001, 1e6)),
        st.builds(
            Schedule,
            cron=st.sampled_from(["* * * * *", "30 2 * * *", "0 */2 * * *", "15 1-3 * * SUN"]),
            timezone=st.sampled_from([BERLIN, dt.UTC, ZoneInfo("Australia/Lord_Howe")]),
            overlap=st.sampled_from(Overlap),
            catch_up=st.booleans(),
        ),
    ),
    wall=st.floats(0.0, 4e9),
    steps=st.lists(
        st.tuples(st.floats(0.0, 1e5), st.floats(-2 * CORRECTION, 2 * CORRECTION)), max_size=20
    ),
)
def test_next_time_is_always_later(
    schedule: Schedule, wall: float, steps: list[tuple[float, float]]
) -> None:
    """However time passes and clocks are set, what has come due is followed by something later."""
    timetable = Timetable(schedule)
    now = 0.0
    timetable.begin(now, wall, None)
    for passed, step in steps:
        now += passed
        if timetable.due_at is not None and timetable.due_at <= now:
            timetable.come_due(now)
            timetable.ended(now)
        assert timetable.due_at is not None
        assert timetable.due_at > now
        wall += step
        timetable.set_clock(now, wall)
        assert timetable.due_at >= now
