"""What number a signal has that a person names. Pure."""

from __future__ import annotations

import signal


def signal_number(name: str) -> int:
    """The number of a signal named without SIG: `TERM`, `RTMIN+3`. Raises ValueError."""
    base, plus, offset = name.upper().removeprefix("SIG").partition("+")
    try:
        number = signal.Signals[f"SIG{base}"].value + (int(offset) if plus else 0)
    except (KeyError, ValueError):
        number = 0
    if not 0 < number <= signal.SIGRTMAX:
        message = f"`{name}` is not a signal"
        raise ValueError(message)
    return number
