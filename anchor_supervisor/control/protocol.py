"""The shapes that travel over a control socket: HTTP/1.1 with JSON bodies, beneath `/v1`.

::

    GET  /v1/fleet                              FleetInfo
    GET  /v1/containers                         [ContainerRow]
    GET  /v1/containers/NAME                    everything known (an object)
    GET  /v1/containers/NAME/why                [Why], one for each replica meant
    GET  /v1/containers/NAME/exec-context       ExecContext
    GET  /v1/containers/NAME/root               RootContext
    GET  /v1/containers/NAME/hold               Held, a line; until the client hangs up, or 600 s
    GET  /v1/logs?name=&tail=&since=&follow=1&previous=1    LogLine, a line of JSON each
    GET  /v1/events?name=&tail=&since=&follow=1             JournalEntry, a line of JSON each
    POST /v1/plan                  {files, profiles, environment}   Plan
    POST /v1/apply                 {files, profiles, environment}   ApplyLine, a line of JSON each
    POST /v1/scale                 {CONTAINER: REPLICAS}    ApplyLine, a line of JSON each
    POST /v1/containers/NAME/VERB  {signal, wait}           [ContainerRow], as they are afterwards
    POST /v1/down                  {volumes}                DownResult

VERB is start, stop, restart or kill; NAME is a container (all its replicas) or `NAME.REPLICA`.
Errors are `{"error": {"message", "hint", "kind"}}` with a status of 400 or more. The values are
spelled out in `shapes`. Standard library only; no I/O.
"""

from __future__ import annotations

from anchor_supervisor.errors import ControlError
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.patterns import pattern

if TYPE_CHECKING:
    from typing import Final

    from anchor_supervisor.control.shapes import LogLine

ACTIONS: Final = ("start", "stop", "restart", "kill")
MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 64 * 1024
MAX_ENVIRONMENT: Final = 1024 * 1024  # of the body of plan and apply, which carry one
JSON_TYPE: Final = "application/json"
LINES_TYPE: Final = "application/x-ndjson"


_PLAIN = pattern(r"[A-Za-z0-9._-]+")


class NotFound(ControlError):  # noqa: N818 - it is what happened
    """There is no such container, or no such page."""


class Refused(ControlError):  # noqa: N818
    """The request is understood, and cannot be granted in the present state."""


class Malformed(ControlError):  # noqa: N818
    """The request itself is wrong."""


def container_page(name: str, page: str = "") -> str:
    """Give the path of what is said of a container, or of its `page`."""
    if not _PLAIN.fullmatch(name):
        from urllib.parse import quote  # rarely: no container is so named

        name = quote(name, safe="")
    return f"/v1/containers/{name}{page and '/'}{page}"


def log_line(name: str, time: str, stream: str, data: bytes, *, partial: bool) -> LogLine:
    """Give a record of output as JSON can hold it: exactly, whatever the bytes are."""
    line: LogLine = {
        "name": name,
        "time": time,
        "stream": stream,
        "partial": partial,
        "text": data.decode("utf-8", "replace"),
    }
    if "\N{REPLACEMENT CHARACTER}" in line["text"]:
        import binascii  # for the few lines that need it

        line["base64"] = binascii.b2a_base64(data, newline=False).decode()
    return line


def log_bytes(line: LogLine) -> bytes:
    """Give back the bytes that `log_line` was given."""
    if "base64" in line:
        import binascii

        return binascii.a2b_base64(line["base64"])
    return line["text"].encode()
