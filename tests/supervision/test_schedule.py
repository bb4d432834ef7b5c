"""Schedules: when a job runs again, what happens to times that come at the wrong moment."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from attrs import evolve

from anchor_supervisor.fleet.model import Container, Overlap, Schedule
from anchor_supervisor.supervision.commands import FleetReady, Spawn
from anchor_supervisor.supervision.events import FleetStartRequested
from anchor_supervisor.supervision.states import State
from playbook import Playbook, job, service, the

LOAD = the("load")
BERLIN = ZoneInfo("Europe/Berlin")


def every(seconds: float, overlap: Overlap = Overlap.SKIP) -> Container:
    """Make a job that runs again and again."""
    return evolve(job("load"), schedule=Schedule(every=seconds, overlap=overlap))


def cron(expression: str, **more: object) -> Container:
    """Make a job that runs at these times of Berlin."""
    schedule = Schedule(cron=expression, timezone=BERLIN, **more)  # type: ignore[arg-type]
    return evolve(job("load"), schedule=schedule)


def berlin(*moment: int) -> float:
    """Return a wall second in Berlin; of an hour that comes twice, its first passage."""
    return dt.datetime(*moment, tzinfo=BERLIN).timestamp()  # type: ignore[arg-type, misc]


def test_every_runs_at_once_and_on_its_grid() -> None:
    """The first run comes with the fleet, the others on a grid from there, whatever they take."""
    play = Playbook(every(60.0), service("web"))
    assert play.start() == [Spawn(LOAD, 1), Spawn(the("web"), 1)]
    play.up("load")
    assert play.up("web") == [FleetReady()]
    play.now = 7.0
    play.exits("load", 0)
    status = play.status("load")
    assert (status.state, status.next, status.next_at) == (State.COMPLETED, "runs again", 60.0)
    for start in (60.0, 120.0, 180.0):
        assert play.wait() == [Spawn(LOAD, 1)]
        assert play.now == start
        play.up("load")
        play.now += 31.0
        play.exits("load", 1 if start == 120.0 else 0)


def test_cron_waits_for_its_time() -> None:
    """Before its first time a job waits, without holding the fleet up."""
    play = Playbook(cron("0 3 * * *"))
    start = FleetStartRequested(wall_offset=berlin(2026, 3, 28, 2, 59, 0))
    assert play.tell(start) == [FleetReady()]
    status = play.status("load")
    assert (status.state, status.reason) == (State.WAITING, "waiting for its time")
    assert (status.next, status.next_at) == ("runs", 60.0)
    assert play.wait() == [Spawn(LOAD, 1)]
