"""When a job runs, as data. Apart from the rest of the model: `datetime` is long to load."""

from __future__ import annotations

import datetime as dt
import enum
from typing import final

from anchor_supervisor.values import frozen


class Overlap(enum.StrEnum):
    """What happens to a scheduled run whose time comes while the one before still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


@final
@frozen
class Schedule:
    """`schedule = {...}` of a job: exactly one of `every` (seconds) and `cron` (five fields).

    `every` counts from the fleet's start, with a run at once; `cron` is read in `timezone`.
    `catch_up`: a time that was missed because no supervisor ran is made up for at its start.
    """

    every: float | None = None
    cron: str | None = None
    timezone: dt.tzinfo = dt.UTC
    overlap: Overlap = Overlap.SKIP
    catch_up: bool = False
