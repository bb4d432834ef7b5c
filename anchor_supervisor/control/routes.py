"""From a request's line and body to a call, and from an error to an answer. Pure; no I/O.

A call is a small value; the server performs it on its `Handler`.
"""

from __future__ import annotations

import json
import re
from typing import Final, final
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from anchor_supervisor.control.handler import ActOptions, LogQuery
from anchor_supervisor.control.protocol import ACTIONS, Malformed, NotFound, Refused
from anchor_supervisor.errors import (
    AnchorError,
    ControlError,
    FleetError,
    HostError,
    ImageError,
    NetworkError,
    SupervisionBug,
)


@final
@frozen
class GetFleet:
    """GET /v1/fleet."""


@final
@frozen
class ListContainers:
    """GET /v1/containers."""


@final
@frozen
class Inspect:
    """GET /v1/containers/NAME."""

    name: str


@final
@frozen
class TellWhy:
    """GET /v1/containers/NAME/why."""

    name: str


@final
@frozen
class GetExecContext:
    """GET /v1/containers/NAME/exec-context."""

    name: str


@final
@frozen
class GetRootContext:
    """GET /v1/containers/NAME/root."""

    name: str


@final
@frozen
class Hold:
    """GET /v1/containers/NAME/hold."""

    name: str


@final
@frozen
class ReadLogs:
    """GET /v1/logs."""

    query: LogQuery


@final
@frozen
class Act:
    """POST /v1/containers/NAME/VERB."""

    name: str
    verb: str
    options: ActOptions


@final
@frozen
class Down:
    """POST /v1/down."""

    volumes: bool


Look = GetFleet | ListContainers | Inspect | TellWhy | GetExecContext | GetRootContext
Call = Look | Hold | ReadLogs | Act | Down


class MethodNotAllowed(ControlError):  # noqa: N818 - it is what happened
    """The page is there, but not for this method."""

    def __init__(self, method: str, allowed: str) -> None:
        """Remember the method that is allowed."""
        super().__init__(f"`{method}` is not possible here, only {allowed}")
        self.allowed = allowed


_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}", re.IGNORECASE)
_SIGNAL = re.compile(r"[A-Z0-9+-]{1,16}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", re.ASCII)
_LOG_KEYS: Final = frozenset({"name", "tail", "since", "follow", "previous"})

STATUS: Final[tuple[tuple[type[AnchorError], int], ...]] = (
    (NotFound, 404),
    (Malformed, 400),
    (MethodNotAllowed, 405),
    (Refused, 409),
    (ControlError, 409),
    (FleetError, 422),
    (ImageError, 503),
    (NetworkError, 503),
    (HostError, 503),
    (SupervisionBug, 500),
    (AnchorError, 409),
)


def error_answer(error: AnchorError) -> tuple[int, dict[str, object]]:
    """Give the status and the body that say this error; `kind` is the nearest class in `STATUS`."""
    kind, status = next(entry for entry in STATUS if isinstance(error, entry[0]))
    body = {"message": error.message, "hint": error.hint, "kind": kind.__name__}
    return status, {"error": body}


def parse_call(method: str, target: str, body: bytes) -> Call:
    """Understand a request. Raises NotFound, MethodNotAllowed or Malformed."""
    try:
        parts = urlsplit(target)
    except ValueError:
        message = f"`{target}` is not a path"
        raise Malformed(message) from None
    match parts.path.split("/")[1:]:
        case ["v1", "fleet"]:
            _expect("GET", method)
            return GetFleet()
        case ["v1", "containers"]:
            _expect("GET", method)
            return ListContainers()
        case ["v1", "logs"]:
            _expect("GET", method)
            return ReadLogs(_parse_log_query(parts.query))
        case ["v1", "down"]:
            _expect("POST", method)
            return Down(_flag(_parse_body(body, {"volumes"}), "volumes"))
        case ["v1", "containers", name, *rest]:
            return _parse_container_call(method, _parse_name(unquote(name)), rest, body)
        case _:
            message = f"there is no page `{parts.path}`"
            pages = "/v1/fleet, /v1/containers, /v1/logs, /v1/down"
            raise NotFound(message, hint=f"the pages are {pages}")


def _parse_container_call(method: str, name: str, rest: list[str], body: bytes) -> Call:
    match rest:
        case []:
            _expect("GET", method)
            return Inspect(name)
        case ["why"]:
            _expect("GET", method)
            return TellWhy(name)
        case ["exec-context"]:
            _expect("GET", method)
            return GetExecContext(name)
        case ["root"]:
            _expect("GET", method)
            return GetRootContext(name)
        case ["hold"]:
            _expect("GET", method)
            return Hold(name)
        case [verb] if verb in ACTIONS:
            _expect("POST", method)
            options = _parse_body(body, {"signal", "wait"})
            return Act(name, verb, ActOptions(_signal(options, verb), _flag(options, "wait")))
        case _:
            message = f"`{'/'.join(rest)}` is nothing that can be done with a container"
            raise NotFound(message, hint=f"one of {', '.join(ACTIONS)}, why, root")


def _expect(allowed: str, method: str) -> None:
    if method != allowed:
        raise MethodNotAllowed(method, allowed)


def _parse_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        message = f"`{name}` is not a container's name"
        raise Malformed(message)
    return name


def _parse_body(body: bytes, keys: set[str]) -> dict[str, object]:
    """Take an object apart; nothing at all is an empty one, an unknown key an error."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = "the body is not JSON"
        raise Malformed(message) from error
    if not isinstance(value, dict):
        message = "the body is not a JSON object"
        raise Malformed(message)
    for key in value.keys() - keys:
        message = f"unknown key `{key}`"
        raise Malformed(message, hint=f"known here: {', '.join(sorted(keys))}")
    return value


def _flag(options: dict[str, object], key: str) -> bool:
    value = options.get(key, False)
    if not isinstance(value, bool):
        message = f"`{key}` must be true or false"
        raise Malformed(message)
    return value


def _signal(options: dict[str, object], verb: str) -> str | None:
    value = options.get("signal")
    if value is None:
        return None
    if verb != "kill" or not isinstance(value, str) or not _SIGNAL.fullmatch(value):
        message = "`signal` must be a signal's name without SIG, and is for kill only"
        raise Malformed(message)
    return value


def _parse_log_query(query: str) -> LogQuery:
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=300)
    except ValueError as error:
        message = f"the query is malformed: {error}"
        raise Malformed(message) from error
    for key in given.keys() - _LOG_KEYS:
        message = f"unknown parameter `{key}`"
        raise Malformed(message, hint=f"known here: {', '.join(sorted(_LOG_KEYS))}")
    return LogQuery(
        names=tuple(_parse_name(name) for name in given.get("name", ())),
        tail=_tail(given.get("tail", [""])[-1]),
        since=_since(given.get("since", [""])[-1]),
        follow=_switch(given, "follow"),
        previous=_switch(given, "previous"),
    )


def _tail(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = f"`tail` must be a count, not `{text}`"
        raise Malformed(message)
    return int(text)


def _since(text: str) -> str | None:
    if text and _TIME.fullmatch(text) is None:
        message = f"`since` must be a time such as 2026-01-02T03:04:05.000000000Z, not `{text}`"
        raise Malformed(message)
    return text or None


def _switch(given: dict[str, list[str]], key: str) -> bool:
    text = given.get(key, ["0"])[-1]
    if text not in {"0", "1"}:
        message = f"`{key}` must be 0 or 1, not `{text}`"
        raise Malformed(message)
    return text == "1"
