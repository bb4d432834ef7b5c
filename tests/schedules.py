"""Scheduled jobs in virtual time: a calendar, a clock on the wall, and runs that take no time."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from attrs import evolve

from anchor_supervisor.fleet.model import Container
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.supervision.commands import Spawn
from anchor_supervisor.supervision.events import FleetStartRequested
from playbook import Playbook, job, service, the

LOAD = the("load")
RUN: Final = [Spawn(LOAD, 1)]
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def every(seconds: float, overlap: Overlap = Overlap.SKIP) -> Container:
    """Make a job that runs again and again."""
    return evolve(job("load"), schedule=Schedule(every=seconds, overlap=overlap))


def cron(expression: str, overlap: Overlap = Overlap.SKIP, *, catch_up: bool = False) -> Container:
    """Make a job that runs at these times of Berlin."""
    schedule = Schedule(None, expression, BERLIN, overlap, catch_up)
    return evolve(job("load"), schedule=schedule)


def berlin(day: str, time: str = "00:00", *, again: bool = False) -> float:
    """Return a wall second in Berlin; `again`: in an hour that comes twice, the second time."""
    moment = dt.datetime.fromisoformat(f"{day} {time}").replace(tzinfo=BERLIN, fold=int(again))
    return moment.timestamp()


def clock(wall: float) -> str:
    """Return what a clock in Berlin shows."""
    return dt.datetime.fromtimestamp(wall, BERLIN).strftime("%d %H:%M")


def started(container: Container, wall: float, last_run: float | None = None) -> Playbook:
    """Start a fleet of this and a service at a wall second, which is second zero."""
    play = Playbook(container, service("web"))
    play.tell(FleetStartRequested(wall, {} if last_run is None else {"load": last_run}))
    play.up("web")
    return play


def runs_of(play: Playbook, wall: float, end: float) -> list[str]:
    """Let time pass until a wall second; return what the clock shows when a (short) run begins."""
    times = []
    while (deadline := play.core.next_deadline()) is not None and wall + deadline <= end:
        if play.wait() == RUN:
            times.append(clock(wall + play.now))
            play.up("load")
            play.exits("load", 0)
    return times
