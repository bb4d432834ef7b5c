"""How the runtime says times and exits to a machine: RFC 3339, signal names. Pure."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import final

from attrs import frozen

from anchor_supervisor.supervision.states import ExitStatus


@final
@frozen
class Clock:
    """Turns the loop's monotonic seconds into wall time, from one pair of readings."""

    monotonic: float
    wall: float

    def rfc3339(self, moment: float | None) -> str | None:
        """Wall time with milliseconds, UTC; None stays None."""
        if moment is None:
            return None
        wall = datetime.fromtimestamp(self.wall + moment - self.monotonic, UTC)
        return wall.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `signal 99` for what has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_words(status: ExitStatus | None) -> str:
    """How a run ended, in words."""
    if status is None:
        return "has not ended yet"
    if status.oom is not None:
        return status.oom
    if status.signal is not None:
        return f"killed by {signal_name(status.signal)}"
    if status.code is not None:
        return f"exited ({status.code})"
    return "ended, nobody saw how"
