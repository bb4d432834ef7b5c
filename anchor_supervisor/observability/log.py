"""Our own log: one line for each lifecycle event, on standard error.

For a person: time, level, event, key=value. For a machine: one JSON object a line. structlog writes
them; it is loaded by the first line, since most commands have none to write.
"""

from __future__ import annotations

import enum
import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, TextIO, cast, final

from anchor_supervisor.observability.terminal import neutral_text, wants_color

if TYPE_CHECKING:
    from structlog.typing import BindableLogger, EventDict, Processor


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
        self._write("error", event, facts, trace=True)

    def _write(
        self, level: str, event: str, facts: Mapping[str, object], *, trace: bool = False
    ) -> None:
        logger = self._logger
        if logger is None:
            logger = self._logger = self._made()
        more = {"exc_info": True} if trace else {}
        getattr(logger, level)(event, **facts, **more)

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
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ]
        return [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=self._color,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]


def _harmless(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Let nothing from a container reach the terminal as it is."""
    return {
        key: neutral_text(value).replace("\n", "\\n")
        if isinstance(value, str) and key != "exception"
        else value
        for key, value in event.items()
    }


log: Final = Log()
