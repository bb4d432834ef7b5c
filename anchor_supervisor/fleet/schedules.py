"""`schedule`: when a job runs, by the clock or by the calendar, and in whose time zone."""

from __future__ import annotations

import datetime as dt
import functools
import io
import struct
from collections.abc import Callable, Collection
from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show

SHORTEST_PERIOD: Final = 1.0  # seconds
LONGEST_CRON: Final = 256  # letters
LOCAL_TIME: Final = "/etc/localtime"
"""The machine's own time zone (localtime(5)); where it is missing, that is UTC."""

_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_SOME_DAY: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

ReadBytes = Callable[[str], bytes]
"""Reads a file of the machine. Raises Mistake."""


def schedule(sheet: Sheet, path: str, value: object, read_bytes: ReadBytes) -> Schedule | None:
    """Read `schedule = {...}`; None where it does not say when."""
    table = Table(sheet, path, value, schema.SCHEDULE)
    every: float | None = table.read("every", values.duration(SHORTEST_PERIOD), None)
    cron: str | None = table.read("cron", _cron, None)
    given = [key for key in ("every", "cron") if key in table]
    if len(given) != 1 and not sheet.blames(path):
        both = "`every` and `cron` contradict each other" if given else "nothing says when it runs"
        sheet.report(path, both, '`every = "1h"`, or `cron = "0 3 * * *"`')
    if given == ["every"]:
        _idle(table)
    local = functools.partial(local_zone, read_bytes)
    made = Schedule(
        every=every,
        cron=cron,
        timezone=table.read("timezone", zone, None) or (local() if cron else dt.UTC),
        overlap=table.read("overlap", values.choice(Overlap), Overlap.SKIP),
        catch_up=table.read("catch_up", values.boolean, default=False),
    )
    return made if (every is None) is not (cron is None) else None


def _idle(table: Table) -> None:
    """Note what only a calendar gives a meaning to."""
    if "timezone" in table:
        message = "`timezone` has no meaning for `every`, which counts from the fleet's start"
        table.sheet.report(table.at("timezone"), message, "leave it out, or say when with `cron`")
    if table.get("catch_up") is True:
        message = "`catch_up` has no meaning for `every`, which runs at the fleet's start anyway"
        table.sheet.report(table.at("catch_up"), message, "leave it out, or say when with `cron`")


def _cron(value: object) -> str:
    """Accept the five fields that crontab(5) has, if they ever come true."""
    text = values.filled_text(value)
    if text in _MACROS:
        message = f"{show(text)} is not five fields"
        raise Mistake(message, hint=f"`{_MACROS[text]}`")
    fields = text.split()
    if len(fields) != len(_FIELDS) or len(text) > LONGEST_CRON:
        message = f"{show(text)} is not five fields"
        raise Mistake(message, hint="minute, hour, day of the month, month, day of the week")
    from cronsim import CronSim, CronSimError  # here: few files need it

    try:
        next(CronSim(text, _SOME_DAY))
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
        message = f"{show(text)} is not a time"
        if wrong in _FIELDS:
            message = f"{show(text)}: {show(fields[_FIELDS.index(wrong)])} cannot be the {wrong}"
        raise Mistake(message) from error
    except StopIteration as error:
        message = f"{show(text)} never comes"
        raise Mistake(message) from error
    return " ".join(fields)


def zone(value: object) -> dt.tzinfo:
    """Accept the name of a time zone that this machine knows; the same name is the same zone."""
    import zoneinfo  # here, as cronsim

    name = values.filled_text(value)
    try:
        return _named(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{show(name)} is not a time zone of this machine"
        raise Mistake(message, hint=_meant(name, zoneinfo.available_timezones())) from error


def _meant(name: str, known: Collection[str]) -> str | None:
    """Return a hint: there are six hundred zones, of which the likely ones are compared."""
    if not known:
        return "package `tzdata` has them"
    word = name.lower()
    cities = [one for one in sorted(known) if one.lower().rpartition("/")[2] == word]
    if cities:
        return f"did you mean `{cities[0]}`?"
    return did_you_mean(name, [one for one in sorted(known) if one.lower()[:2] == word[:2]])


def local_zone(read_bytes: ReadBytes) -> dt.tzinfo:
    """Return the machine's own time zone; the same rules are the same zone."""
    try:
        return _of_rules(read_bytes(LOCAL_TIME))
    except (Mistake, ValueError, struct.error):
        return dt.UTC


# zoneinfo compares by identity and forgets what nobody holds; two loads of a file must be equal.
@functools.cache
def _named(name: str) -> dt.tzinfo:
    import zoneinfo

    return dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


@functools.cache
def _of_rules(rules: bytes) -> dt.tzinfo:
    import zoneinfo

    return zoneinfo.ZoneInfo.from_file(io.BytesIO(rules), key="local")
