"""Whether a container's stop signal will do anything, and in words why not.

A program that runs as process 1 is spared the default action of every signal (pid_namespaces(7)):
one without a handler for TERM ends in a kill, after the whole grace, at every stop. It can be seen
beforehand, in /proc, which is what this is for.
"""

from __future__ import annotations

from typing import Final

from anchor_supervisor.fleet.model import Container
from anchor_supervisor.kernel.dispositions import Dispositions, first_child, read_dispositions
from anchor_supervisor.runtime.signal_number import signal_number
from anchor_supervisor.supervision.words import duration

ENDING: Final = ("TERM", "INT", "QUIT")
"""Signals that programs take as a wish that they end, the usual one first."""


def stop_warning(container: Container, found: Dispositions) -> str | None:
    """Say that a stop of `container`, whose command does `found`, ends in a kill, and the remedy.

    None where it does not, or where nobody can tell: a `stop.command` may end it, a blocked signal
    may be waited for. Without a grace there is nothing to wait for either.
    """
    stop, first = container.stop, not container.init
    number = signal_number(stop.signal)
    if stop.command is not None or stop.grace == 0 or found.heeds(number, first=first):
        return None
    who = "its process 1" if first else "its command"
    how = "ignores" if found.ignores(number) else "does not handle"
    words = (
        f"{who} {how} {stop.signal}, so a stop takes the whole grace of {duration(stop.grace)}"
        " and ends in a kill"
    )
    remedy = _remedy(found, number, first=first)
    return words if remedy is None else f"{words}; {remedy} would help"


def _remedy(found: Dispositions, number: int, *, first: bool) -> str | None:
    """What to write into the file: a signal that is caught, or an init of ours in front."""
    caught = next((name for name in ENDING if found.catches(signal_number(name))), None)
    if caught is not None:
        return f'`stop = {{ signal = "{caught}" }}`'
    return "`init = true`" if first and found.heeds(number, first=False) else None


def look_at_stop(container: Container, main: int) -> str | None:
    """Look at a running container, whose main process is `main`; the answer of `stop_warning`.

    With an init of ours the command is its first child.
    """
    process = first_child(main) if container.init else main
    found = None if process is None else read_dispositions(process)
    return None if found is None else stop_warning(container, found)
