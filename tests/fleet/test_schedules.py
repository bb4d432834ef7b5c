"""`schedule`, and the time zones it is read in."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.fleet.schedules import LOCAL_TIME, local_zone, zone
from anchor_supervisor.fleet.wording import Mistake
from fleet_text import container, messages, problems

JOB = 'kind = "job"\n'
PARIS = Path("/usr/share/zoneinfo/Europe/Paris")


def test_a_schedule_is_a_period_or_a_calendar() -> None:
    """With what happens to runs that meet, or were missed."""
    assert container("").schedule is None
    every = container(JOB + 'schedule = { every = "90s", overlap = "queue" }').schedule
    assert every == Schedule(every=90.0, overlap=Overlap.QUEUE)
    written = (
        'schedule = { cron = "*/5  8-18 * JAN,feb MON#2", timezone = "Europe/Paris", '
        'overlap = "replace", catch_up = true }'
    )
    cron = container(JOB + written).schedule
    assert cron is not None
    assert (cron.every, cron.cron) == (None, "*/5 8-18 * JAN,feb MON#2")
    assert str(cron.timezone) == "Europe/Paris"
    assert (cron.overlap, cron.catch_up) == (Overlap.REPLACE, True)


@pytest.mark.parametrize("extra", ["", ', timezone = "UTC"', ', timezone = "Europe/Paris"'])
def test_the_same_file_is_the_same_schedule(extra: str) -> None:
    """A time zone is equal to itself, though it is read twice."""
    lines = JOB + f'schedule = {{ cron = "0 3 * * *"{extra} }}'
    first = container(lines)
    assert container(lines) == first
    other = container(JOB + 'schedule = { cron = "0 3 * * *", timezone = "Asia/Tokyo" }')
    assert other != first


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "nothing says when it runs"),
        ('every = "1h", cron = "0 3 * * *"', "`every` and `cron` contradict each other"),
        ('every = "10ms"', "`10ms` is under 1s"),
        ("every = 60", "`60` has no unit"),
        ('cron = ""', "the value is empty"),
        ('cron = "0 3 * *"', "`0 3 * *` is not five fields"),
        ('cron = "0 0 3 * * *"', "`0 0 3 * * *` is not five fields"),
        ('cron = "61 * * * *"', "`61 * * * *`: `61` cannot be the minute"),
        ('cron = "0 24 * * *"', "`0 24 * * *`: `24` cannot be the hour"),
        ('cron = "0 0 32 * *"', "`0 0 32 * *`: `32` cannot be the day-of-month"),
        ('cron = "0 0 * XYZ *"', "`0 0 * XYZ *`: `XYZ` cannot be the month"),
        ('cron = "0 0 * * 8"', "`0 0 * * 8`: `8` cannot be the day-of-week"),
        ('cron = "0 0 30 2 *"', "`0 0 30 2 *`: `30` cannot be the day-of-month"),
        ('cron = "0 3 * * *", timezone = ""', "the value is empty"),
        ('cron = "0 3 * * *", timezone = "/etc/passwd"', ...),
        ('cron = "0 3 * * *", timezone = "../../../etc/passwd"', ...),
        ('cron = "0 3 * * *", timezone = "Europe/Pari"', ...),
        ('cron = "0 3 * * *", timezone = 2', "`2` is a number, not a string"),
        (
            'every = "1h", timezone = "UTC"',
            "`timezone` has no meaning for `every`, which counts from the fleet's start",
        ),
        (
            'every = "1h", catch_up = true',
            "`catch_up` has no meaning for `every`, which runs at the fleet's start anyway",
        ),
        ('every = "1h", overlap = "kill"', "`kill` is none of `skip`, `queue`, `replace`"),
        ('every = "1h", catch_up = 1', "`1` is a number, not `true` or `false`"),
        ('interval = "1h"', "unknown key `interval`"),
    ],
)
def test_schedules_that_cannot_be_meant(written: str, message: object) -> None:
    """One problem each, and none that follows from it."""
    [found] = messages(f"{JOB}schedule = {{ {written} }}")
    if message is ...:
        assert found.endswith("is not a time zone of this machine")
    else:
        assert found == message


def test_what_is_nearly_right_is_put_right() -> None:
    """The short names of crontab(5), and a slip in the name of a zone."""
    [daily] = problems(JOB + 'schedule = { cron = "@daily" }')
    assert (daily.message, daily.hint) == ("`@daily` is not five fields", "`0 0 * * *`")
    for name in ("Europe/Pari", "europe/paris", "Paris"):
        [slip] = problems(f'{JOB}schedule = {{ cron = "0 3 * * *", timezone = "{name}" }}')
        assert slip.hint == "did you mean `Europe/Paris`?"
        assert slip.key == "containers.web.schedule.timezone"


def test_a_service_has_no_schedule() -> None:
    """It runs all the time."""
    [found] = problems('schedule = { every = "1h" }')
    assert found.message == "a service runs all the time, so `schedule` has no meaning"
    assert (found.key, found.hint) == ("containers.web.schedule", 'add `kind = "job"`')


def test_the_local_zone_is_the_machines() -> None:
    """Read from where every program reads it, and UTC where there is nothing to read."""
    asked: list[str] = []

    def paris(path: str) -> bytes:
        asked.append(path)
        return PARIS.read_bytes()

    def missing(path: str) -> bytes:
        raise Mistake(path)

    local = local_zone(paris)
    noon = dt.datetime(2024, 7, 1, 12, tzinfo=local)
    assert asked == [LOCAL_TIME]
    assert noon.utcoffset() == dt.timedelta(hours=2)
    assert local_zone(paris) is local
    assert local_zone(missing) is dt.UTC
    for wrong in (b"", b"TZif2", PARIS.read_bytes()[:60]):
        assert local_zone({LOCAL_TIME: wrong}.__getitem__) is dt.UTC


def test_a_zone_is_the_librarys() -> None:
    """By the same name, and the same each time."""
    assert zone("Europe/Paris") is zone("Europe/Paris")
    assert isinstance(zone("Europe/Paris"), zoneinfo.ZoneInfo)
    assert zone("UTC") is dt.UTC


@given(st.text(alphabet="0123456789*/,-#LWMONJAN \t@", max_size=24))
def test_any_text_is_a_schedule_or_a_mistake(text: str) -> None:
    """And nothing else is raised."""
    written = text.replace("\t", "\\t")
    lines = f'{JOB}schedule = {{ cron = "{written}", timezone = "UTC" }}'
    try:
        found = container(lines).schedule
    except FleetError:
        [problem] = problems(lines)
        assert problem.key == "containers.web.schedule.cron"
    else:
        assert found is not None
        assert found.cron == " ".join(text.split())
