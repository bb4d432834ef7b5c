"""From a request's line and body to a call, and from an error to an answer. Pure; no I/O.

A call is a small value; the server performs it on its `Handler`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final
from urllib.parse import unquote, urlsplit

from anchor_supervisor.control.asked import (
    parse_body,
    parse_event_query,
    parse_flag,
    parse_log_query,
    parse_name,
    parse_replicas,
    parse_signal,
    parse_wanted,
)
from anchor_supervisor.control.handler import ActOptions, EventQuery, LogQuery, Wanted
from anchor_supervisor.control.protocol import (
    ACTIONS,
    MAX_BODY,
    MAX_ENVIRONMENT,
    Malformed,
    NotFound,
    Refused,
)
from anchor_supervisor.errors import (
    AnchorError,
    ControlError,
    FleetError,
    HostError,
    ImageError,
    NetworkError,
    SupervisionBug,
    UnfitHostError,
)
from anchor_supervisor.values import frozen


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
class ReadEvents:
    """GET /v1/events."""

    query: EventQuery


@final
@frozen
class TellPlan:
    """POST /v1/plan."""

    wanted: Wanted


@final
@frozen
class Apply:
    """POST /v1/apply."""

    wanted: Wanted


@final
@frozen
class Scale:
    """POST /v1/scale."""

    replicas: Mapping[str, int]


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
Stream = Hold | ReadLogs | ReadEvents | Apply | Scale
Simple = Look | TellPlan | Act | Down
Call = Stream | Simple


class MethodNotAllowed(ControlError):  # noqa: N818 - it is what happened
    """The page is there, but not for this method."""

    def __init__(self, method: str, allowed: str) -> None:
        """Remember the method that is allowed."""
        super().__init__(f"`{method}` is not possible here, only {allowed}")
        self.allowed = allowed


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
    body: dict[str, object] = {
        "message": error.message,
        "hint": error.hint,
        "kind": kind.__name__,
    }
    if isinstance(error, FleetError | UnfitHostError):
        body["problems"] = [[str(problem), problem.hint] for problem in error.problems]
    return status, {"error": body}


def largest_body(target: str) -> int:
    """Say how many bytes of a body are read for this target; more is refused."""
    return MAX_ENVIRONMENT if target in {"/v1/plan", "/v1/apply"} else MAX_BODY


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
            return ReadLogs(parse_log_query(parts.query))
        case ["v1", "down"]:
            _expect("POST", method)
            return Down(parse_flag(parse_body(body, {"volumes"}), "volumes"))
        case ["v1", "events"]:
            _expect("GET", method)
            return ReadEvents(parse_event_query(parts.query))
        case ["v1", "plan"]:
            _expect("POST", method)
            return TellPlan(parse_wanted(body))
        case ["v1", "apply"]:
            _expect("POST", method)
            return Apply(parse_wanted(body))
        case ["v1", "scale"]:
            _expect("POST", method)
            return Scale(parse_replicas(body))
        case ["v1", "containers", name, *rest]:
            return _parse_container_call(method, parse_name(unquote(name)), rest, body)
        case _:
            message = f"there is no page `{parts.path}`"
            pages = "/v1/fleet, /v1/containers, /v1/logs, /v1/events, /v1/down"
            pages += ", /v1/plan, /v1/apply, /v1/scale"
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
            options = parse_body(body, {"signal", "wait"})
            signal, wait = parse_signal(options, verb), parse_flag(options, "wait")
            return Act(name, verb, ActOptions(signal, wait))
        case _:
            message = f"`{'/'.join(rest)}` is nothing that can be done with a container"
            raise NotFound(message, hint=f"one of {', '.join(ACTIONS)}, why, root")


def _expect(allowed: str, method: str) -> None:
    if method != allowed:
        raise MethodNotAllowed(method, allowed)
