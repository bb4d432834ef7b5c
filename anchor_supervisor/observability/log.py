"""Our own log: one line for each lifecycle event, on standard error.

For a person: time, level, event, key=value. For a machine: one JSON object a line. structlog writes
them; it is loaded by the first line, since most commands have none to write. What happens while
somebody waits for a fleet to come up is kept until that is over, since loading takes as long as ten
containers.
"""

from __future__ import annotations

import enum
import io
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, TextIO, cast, final

from anchor_supervisor.observability.terminal import neutral_text, wants_color

if TYPE_CHECKING:
    from datetime import datetime

    from structlog.typing import BindableLogger, EventDict, Processor

    _Entry = tuple[str, Mapping[str, object], datetime]


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
        self._logger: BindableLogger | None = None
        self._held: list[_Entry] | None = None
        self._writing = threading.Lock()

    def hold(self) -> None:
        """Keep what is told from now on, with its time, until `release` or something is wrong."""
        with self._writing:
            self._held = []

    def release(self) -> None:
        """Write what was kept, and what comes at once. Loads structlog: not for the loop."""
        if self._held:
            self._ready()  # before the lock is taken, which the loop may wait for
        with self._writing:
            held, self._held = self._held or (), None
            for event, facts, at in held:
                self._tell("info", event, {**facts, "timestamp": self._shown(at)})

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
        self._logger = None

    def info(self, event: str, **facts: object) -> None:
        """Tell what happens when all is well."""
        if self._quiet:
            return
        with self._writing:
            if self._held is not None:
                self._held.append((event, facts, _now()))
                return
        self._write("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Tell what somebody should look at."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Tell what has failed."""
        self._write("error", event, facts)

    def exception(self, event: str, **facts: object) -> None:
        """Tell what has failed, with the traceback of the exception that is being handled."""
        self._write("error", event, facts, trace=True)

    def _write(
        self, level: str, event: str, facts: Mapping[str, object], *, trace: bool = False
    ) -> None:
        if self._held is not None:
            self.release()
        self._tell(level, event, {**facts, "exc_info": True} if trace else facts)

    def _tell(self, level: str, event: str, facts: Mapping[str, object]) -> None:
        getattr(self._ready(), level)(event, **facts)

    def _shown(self, at: datetime) -> str:
        if self._format is LogFormat.JSON:
            return at.isoformat().replace("+00:00", "Z")
        return f"{at.astimezone():%H:%M:%S}"

    def _ready(self) -> BindableLogger:
        if self._logger is None:
            self._logger = self._made()
        return self._logger

    def _made(self) -> BindableLogger:
        import structlog

        stream = sys.stderr if self._stream is None else self._stream
        logger: BindableLogger = structlog.wrap_logger(
            structlog.WriteLogger(cast("TextIO", stream)),
            processors=[structlog.processors.add_log_level, *self._renderer()],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        ).bind()
        return logger

    def _renderer(self) -> list[Processor]:
        import structlog

        if self._format is LogFormat.JSON:
            return [
                structlog.processors.MaybeTimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ]
        return [
            structlog.processors.MaybeTimeStamper(fmt="%H:%M:%S", utc=False),
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=self._color,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]


def _now() -> datetime:
    from datetime import UTC, datetime  # a command that goes well writes no lines

    return datetime.now(UTC)


def _harmless(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Let nothing from a container reach the terminal as it is."""
    return {
        key: neutral_text(value).replace("\n", "\\n")
        if isinstance(value, str) and key != "exception"
        else value
        for key, value in event.items()
    }


log: Final = Log()
