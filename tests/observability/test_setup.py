"""Our own log lines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from anchor_supervisor.observability.setup import LogFormat, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


def test_json_is_an_object_a_line() -> None:
    """A machine gets one JSON object, exact values and all."""
    stream = io.StringIO()
    configure(LogFormat.JSON, stream=stream)
    structlog.get_logger().info("started", container="web.1", pid=3, words="a\x1b[2J\nb")
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp")
    assert entry == {
        "event": "started",
        "level": "info",
        "container": "web.1",
        "pid": 3,
        "words": "a\x1b[2J\nb",
    }


def test_a_person_gets_one_harmless_line() -> None:
    """For a person one line without colour, and nothing of a container reaches the terminal."""
    stream = io.StringIO()
    configure(stream=stream)
    structlog.get_logger().warning("backoff", container="web.1", reason="a\x1b[2J\nb")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "web.1" in stream.getvalue()


def test_quiet_leaves_warnings() -> None:
    """`quiet` says only what is wrong."""
    stream = io.StringIO()
    configure(stream=stream, quiet=True)
    structlog.get_logger().info("started")
    assert stream.getvalue() == ""
    structlog.get_logger().warning("trouble")
    assert "trouble" in stream.getvalue()


def test_a_bug_is_told_with_its_traceback() -> None:
    """`log.exception` gives the traceback in both formats."""
    for form in LogFormat:
        stream = io.StringIO()
        configure(form, stream=stream)
        try:
            raise ValueError("inside")
        except ValueError:
            structlog.get_logger().exception("bug")
        assert "ValueError: inside" in stream.getvalue()
