"""Requests to calls, without any I/O."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.control.protocol import ACTIONS, Malformed, NotFound
from anchor_supervisor.control.routes import STATUS, Act, Simple, Stream, error_answer, parse_call
from anchor_supervisor.errors import AnchorError, ControlError, KernelError

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)


def encoded(value: object) -> bytes:
    """As a body."""
    return json.dumps(value).encode()


@given(st.sampled_from(["GET", "POST", "PUT"]), st.text(), st.binary())
def test_any_request_is_a_call_or_an_error(method: str, target: str, body: bytes) -> None:
    """Nothing but a call or a ControlError comes of any request."""
    for prefix in (
        "",
        "/v1/",
        "/v1/containers/",
        "/v1/containers/web/",
        "/v1/logs?",
        "/v1/events?",
        "/v1/plan",
        "/v1/apply",
        "/v1/scale",
        "/v1/down?",
    ):
        try:
            call = parse_call(method, prefix + target, body)
        except ControlError as error:
            status, answer = error_answer(error)
            assert 400 <= status < 500
            assert json.dumps(answer)
        else:
            assert isinstance(call, Stream | Simple)


@given(st.binary() | st.dictionaries(st.sampled_from(["wait", "signal"]), JSON).map(encoded))
def test_a_body_never_surprises(body: bytes) -> None:
    """Whatever the body, an action is understood or refused."""
    for verb in ACTIONS:
        try:
            call = parse_call("POST", f"/v1/containers/web/{verb}", body)
        except ControlError:
            continue
        assert isinstance(call, Act)
        assert call.verb == verb


def test_deep_nesting_is_refused() -> None:
    """JSON that would exhaust the interpreter's stack is an error like another."""
    with pytest.raises(Malformed, match="the body is not JSON"):
        parse_call("POST", "/v1/down", b"[" * 60_000)


def test_every_error_has_a_status() -> None:
    """The nearest class in the table decides, and the base class is in it."""
    assert STATUS[-1][0] is AnchorError
    assert error_answer(NotFound("x"))[0] == 404
    status, body = error_answer(KernelError(1, "mount", "/run", hint="be root"))
    assert (status, body["error"]) == (
        503,
        {
            "message": "mount `/run`: Operation not permitted",
            "hint": "be root",
            "kind": "HostError",
        },
    )
