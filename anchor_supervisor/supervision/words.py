"""How numbers and ends are said in reasons. It decides nothing."""

from __future__ import annotations

from typing import Final

from anchor_supervisor.supervision.states import ExitStatus

UNITS: Final = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
"""The units of fleet.toml, in milliseconds."""


def duration(seconds: float) -> str:
    """Return ``1h5m30s20ms``, as fleet.toml writes it, to the millisecond."""
    left = round(max(seconds, 0.0) * 1000)
    parts: list[str] = []
    for unit, size in UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def last(status: ExitStatus) -> str:
    """Return ``exit 1``, or the whole story where the end was another."""
    if status.code is not None and status.oom is None:
        return f"exit {status.code}"
    return str(status)


def count(number: int, thing: str) -> str:
    """Return ``1 restart``, ``2 restarts``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th``, ``11th``."""
    teens = number % 100 in {11, 12, 13}
    ending = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
