"""How the runtime says times to a machine: RFC 3339. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import final

from anchor_supervisor.values import frozen


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
        # To the millisecond first: what is lost to floats must not show in the last digit.
        offset = round(self.wall - self.monotonic, 3)
        wall = datetime.fromtimestamp(offset + moment, UTC)
        return wall.isoformat(timespec="milliseconds").replace("+00:00", "Z")
