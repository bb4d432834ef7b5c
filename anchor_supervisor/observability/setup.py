"""structlog's configuration: one line for each lifecycle event, on standard error.

For a person: time, level, event, key=value. For a machine: one JSON object a line.
"""

from __future__ import annotations

import enum
import io
import logging
import sys
from typing import Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from anchor_supervisor.observability.terminal import neutral_text, wants_color


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


def configure(
    format: LogFormat = LogFormat.CONSOLE,  # noqa: A002 - the option's own name
    *,
    color: bool | None = None,
    stream: TextIO | Sink | None = None,
    quiet: bool = False,
) -> None:
    """Set up structlog for this process. `color` None: as the stream and NO_COLOR say.

    `quiet` leaves only warnings and errors.
    """
    stream = sys.stderr if stream is None else stream
    if color is None:
        color = isinstance(stream, io.TextIOBase) and wants_color(cast("TextIO", stream))
    renderer: list[Processor] = (
        [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
        if format == LogFormat.JSON
        else [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=color, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", stream)),
        cache_logger_on_first_use=False,
    )


def _harmless(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Let no value from a container reach the terminal as it is."""
    return {
        key: neutral_text(value).replace("\n", "\\n")
        if isinstance(value, str) and key != "exception"
        else value
        for key, value in event.items()
    }
