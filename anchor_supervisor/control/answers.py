"""What a supervisor answers: values, or the error that it raised. Standard library only.

A client loads this while the supervisor makes the answer: `json` takes as long as that.
"""

from __future__ import annotations

import json

from anchor_supervisor.control import protocol
from anchor_supervisor.errors import (
    AnchorError,
    ControlError,
    FleetError,
    HostError,
    ImageError,
    NetworkError,
    Problem,
    SupervisionBug,
    UnfitHostError,
)
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Final

_KINDS: Final[dict[str, type[AnchorError]]] = {
    kind.__name__: kind
    for kind in (
        protocol.NotFound,
        protocol.Refused,
        protocol.Malformed,
        ControlError,
        HostError,
        ImageError,
        NetworkError,
        SupervisionBug,
    )
}


def line_value(line: bytes) -> Any:  # noqa: ANN401 - JSON; the routes say which shape
    """Give the value of one line of many."""
    return json.loads(line)


def answer_value(fleet: str, status: int, body: bytes) -> Any:  # noqa: ANN401
    """Give the value of a whole answer. Raises the error that it tells of."""
    try:
        value = json.loads(body)
        if status < 400:
            return value
        told = value["error"]
        kind = _KINDS.get(told["kind"], ControlError)
        if "problems" in told:
            problems = [Problem(str(words), hint=hint) for words, hint in told["problems"]]
            raise (FleetError if told["kind"] == "FleetError" else UnfitHostError)(problems)
        raise kind(str(told["message"]), hint=told.get("hint"))
    except (ValueError, KeyError, TypeError):
        message = f"the supervisor of `{fleet}` gave an answer that is not understood"
        raise ControlError(message, hint="is it of another version?") from None
