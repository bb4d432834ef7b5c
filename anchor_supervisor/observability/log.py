"""Our own log: one line for each lifecycle event, on standard error.

For a person: time, level, event, key=value. For a machine: one JSON object a line. The standard
library only, and little of it: every program that supervises loads this before anything starts.
"""

from __future__ import annotations

import enum
import io
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TextIO, cast, final

from anchor_supervisor.observability.terminal import neutral_text, wants_color

_RESET: Final = "\x1b[0m"
_DIM, _BRIGHT, _CYAN, _MAGENTA = "\x1b[2m", "\x1b[1m", "\x1b[36m", "\x1b[35m"
_COLOURS: Final = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_QUOTED: Final = frozenset(" \t=\r\n\"'")


class Sink(Protocol):
    """What a log line is written to, in one call."""

    def write(self, text: str, /) -> int:
        """Take the text."""
        ...

    def flush(self) -> None:
        """See that it is on its way."""
        ...


class LogFormat(enum.StrEnum):
    """How lifecycle events are written."""

    CONSOLE = "console"
    JSON = "json"


@final
class Log:
    """Writes events with their facts. There is one, `log`; any thread may write to it."""

    def __init__(self) -> None:
        """Begin as a person wants it, on standard error, whatever that is by then."""
        self._stream: TextIO | Sink | None = None
        self._format = LogFormat.CONSOLE
        self._color = False
        self._quiet = False

    def configure(
        self,
        format: LogFormat = LogFormat.CONSOLE,  # noqa: A002 - the option's own name
        *,
        color: bool | None = None,
        stream: TextIO | Sink | None = None,
        quiet: bool = False,
    ) -> None:
        """Say where lines go and how they look. `color` None: as the stream and NO_COLOR say.

        `quiet` leaves only warnings and errors.
        """
        where = sys.stderr if stream is None else stream
        if color is None:
            color = isinstance(where, io.TextIOBase) and wants_color(cast("TextIO", where))
        self._stream, self._format, self._color, self._quiet = stream, format, color, quiet

    def info(self, event: str, **facts: object) -> None:
        """Tell what happens when all is well."""
        if not self._quiet:
            self._write("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Tell what somebody should look at."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Tell what has failed."""
        self._write("error", event, facts)

    def exception(self, event: str, **facts: object) -> None:
        """Tell what has failed, with the traceback of the exception that is being handled."""
        import traceback  # for bugs alone

        self._write("error", event, facts, traceback.format_exc().rstrip("\n"))

    def _write(
        self, level: str, event: str, facts: Mapping[str, object], traceback: str | None = None
    ) -> None:
        if self._format is LogFormat.JSON:
            line = _for_machine(level, event, facts, traceback)
        else:
            line = _for_person(level, event, facts, color=self._color)
            line = line if traceback is None else f"{line}\n{traceback}"
        stream = sys.stderr if self._stream is None else self._stream
        stream.write(f"{line}\n")
        stream.flush()


def _for_machine(level: str, event: str, facts: Mapping[str, object], traceback: str | None) -> str:
    import json  # here, because few fleets log so

    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    entry = {**facts, "event": event, "level": level, "timestamp": now}
    if traceback is not None:
        entry["exception"] = traceback
    return json.dumps(entry, default=repr)


def _for_person(level: str, event: str, facts: Mapping[str, object], *, color: bool) -> str:
    now = f"{datetime.now():%H:%M:%S}"
    said = _harmless(event)
    shown = {key: _shown(facts[key]) for key in sorted(facts)}
    if not color:
        pairs = [f"{key}={value}" for key, value in shown.items()]
        return " ".join([now, f"[{level:<9}]", said, *pairs])
    pairs = [f"{_CYAN}{key}{_RESET}={_MAGENTA}{value}{_RESET}" for key, value in shown.items()]
    marked = f"[{_COLOURS[level]}{_BRIGHT}{level:<9}{_RESET}]"
    return " ".join([f"{_DIM}{now}{_RESET}", marked, f"{_BRIGHT}{said}{_RESET}", *pairs])


def _shown(value: object) -> str:
    """Show a value, in quotes where one could not see where it ends."""
    if not isinstance(value, str):
        return repr(value)
    harmless = _harmless(value)
    return harmless if _QUOTED.isdisjoint(harmless) else repr(harmless)


def _harmless(text: str) -> str:
    """Let nothing from a container reach the terminal as it is."""
    return neutral_text(text).replace("\n", "\\n")


log: Final = Log()
