"""Names of signals: which there are, and which do what the file wants of them."""

from __future__ import annotations

from typing import Final

from anchor_supervisor.fleet.values import filled_text
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.patterns import pattern

SIGNALS: Final = (  # noqa: SIM905 - thirty lines would say no more
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM CHLD CONT STOP TSTP "
    "TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMAX"
).split()
"""signal(7), the names Linux has everywhere."""

NO_STOP_SIGNALS: Final = frozenset({"STOP", "TSTP", "TTIN", "TTOU", "CONT", "CHLD", "URG"})
"""What leaves a process running or only pauses it (signal(7)); WINCH ends some servers."""

NO_NEWS_SIGNALS: Final = frozenset({"KILL", "STOP"})
"""What no process can have a handler for (signal(7)), so that it could not be told anything."""

_REAL_TIME: Final = pattern(r"RTMIN\+([1-9]|[12][0-9]|30)")
"""The C library keeps two of the kernel's for itself and counts from its own RTMIN (signal(7))."""


def signal_name(value: object) -> str:
    """Accept a signal's name in any case, with or without SIG; the result has none."""
    return filled_text(value).upper().removeprefix("SIG")


def check_signal(name: str) -> None:
    """Raise Mistake where Linux has no signal of this name."""
    if name not in SIGNALS and _REAL_TIME.fullmatch(name) is None:
        hint = "by name, as in `TERM`" if name.isdecimal() else did_you_mean(name, SIGNALS)
        message = f"{show(name)} is not a signal"
        raise Mistake(message, hint=hint)
