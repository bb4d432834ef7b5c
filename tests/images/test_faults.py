"""What went wrong, in words: pure."""

from __future__ import annotations

import socket

import pytest
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection

from anchor_supervisor.images.faults import explained

HERE = HTTPConnection("registry.example")


def caused(error: Exception, cause: Exception) -> Exception:
    """Let one be the cause of the other."""
    error.__cause__ = cause
    return error


CASES: dict[str, tuple[Exception, str, bool]] = {
    "refused": (
        caused(faults.NewConnectionError(HERE, "x"), ConnectionRefusedError(111, "refused")),
        "`r` cannot be reached: refused",
        False,
    ),
    "unknown": (
        caused(
            faults.NameResolutionError("r", HERE, socket.gaierror(-2, "x")),
            socket.gaierror(-2, "no such name"),
        ),
        "`r` is not known: no such name",
        False,
    ),
    "silent": (faults.ConnectTimeoutError(), "`r` cannot be reached: no answer", True),
    "stopped": (TimeoutError(), "`r` has stopped answering", True),
    "reset": (
        faults.ProtocolError("x", ConnectionResetError(104, "reset by peer")),
        "`r` broke the connection: reset by peer",
        True,
    ),
    "cut": (faults.SSLError("EOF occurred in violation of protocol"), "`r` broke the connec", True),
    "proxy": (
        faults.ProxyError("x", OSError(1, "tunnel failed")),
        "the proxy on the way to `r` failed: `r` broke the connection: tunnel failed",
        True,
    ),
    "nonsense": (faults.LocationParseError("x"), "`r`: ", False),
    "wordless": (faults.ProtocolError(), "`r` broke the connection: ProtocolError", True),
}


@pytest.mark.parametrize(("error", "words", "again"), CASES.values(), ids=list(CASES))
def test_words(error: Exception, words: str, again: bool) -> None:
    """Each says which host and why; only what may pass is worth another try."""
    fault = explained("r", error, reached=False)
    assert fault.message.startswith(words)
    assert fault.again is again


def test_what_has_been_reached_may_come_back() -> None:
    """A registry that refuses connections in the middle of a pull is perhaps only starting anew."""
    error = caused(faults.NewConnectionError(HERE, "x"), ConnectionRefusedError(111, "refused"))
    assert explained("r", error, reached=True).again


def test_errors_within_each_other() -> None:
    """A circle of causes has an end."""
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert explained("r", first, reached=True).message.startswith("`r` broke the connection: ")
