"""Our own log lines."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from anchor_supervisor.observability.log import Log, LogFormat


def a_log(form: LogFormat = LogFormat.CONSOLE, **options: bool) -> tuple[Log, io.StringIO]:
    """Make a log of our own, and where it writes."""
    stream = io.StringIO()
    log = Log()
    log.configure(form, stream=stream, **options)
    return log, stream


def test_json_is_an_object_a_line() -> None:
    """A machine gets one JSON object, exact values and all."""
    log, stream = a_log(LogFormat.JSON)
    log.info("started", container="web.1", pid=3, words="a\x1b[2J\nb", odd=LogFormat)
    entry = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", entry.pop("timestamp"))
    assert entry == {
        "event": "started",
        "level": "info",
        "container": "web.1",
        "pid": 3,
        "words": "a\x1b[2J\nb",
        "odd": repr(LogFormat),
    }


def test_a_person_gets_one_harmless_line() -> None:
    """For a person one line without colour, and nothing of a container reaches the terminal."""
    log, stream = a_log()
    log.warning("back\noff\x1b[2J", reason="a\x1b[2J\nb", container="web.1", n=3, said="so, so")
    time, line = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time)
    assert line == ("[warning  ] back\\noff container=web.1 n=3 reason=a\\nb said='so, so'\n")


def test_colour_sets_the_parts_apart() -> None:
    """With colour the same words, and nothing but colours more."""
    plain, without = a_log(color=False)
    painted, colored = a_log(color=True)
    for log in plain, painted:
        log.error("refused", why="a file", line=3)
    assert re.sub(r"\x1b\[\d+m", "", colored.getvalue())[8:] == without.getvalue()[8:]
    assert "\x1b[31m" in colored.getvalue()


def test_quiet_leaves_warnings() -> None:
    """`quiet` says only what is wrong."""
    log, stream = a_log(quiet=True)
    log.info("started")
    assert stream.getvalue() == ""
    log.warning("trouble")
    assert "trouble" in stream.getvalue()


def test_unconfigured_it_speaks_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What happens before anybody has said where lines go is told all the same."""
    Log().info("begun")
    assert capsys.readouterr().err.endswith("[info     ] begun\n")


@pytest.mark.parametrize("form", LogFormat)
def test_a_bug_is_told_with_its_traceback(form: LogFormat) -> None:
    """`log.exception` gives the traceback in both formats, without anybody's local values."""
    log, stream = a_log(form)
    secret = "hunter2"
    try:
        raise ValueError("inside")
    except ValueError:
        log.exception("bug")
    assert "ValueError: inside" in stream.getvalue()
    assert secret not in stream.getvalue()


@pytest.mark.parametrize("form", LogFormat)
def test_what_is_held_is_told_later_as_of_its_time(
    monkeypatch: pytest.MonkeyPatch, form: LogFormat
) -> None:
    """Held lines cost nothing when they are told, and lose neither their order nor their time."""
    moments = iter(datetime(2026, 1, 1, 0, 0, second).astimezone(UTC) for second in range(9))
    log, stream = a_log(form)
    log.hold()
    with monkeypatch.context() as patched:
        patched.setattr("anchor_supervisor.observability.log._now", lambda: next(moments))
        log.info("one", number=1)
        log.info("two")
    assert stream.getvalue() == ""
    log.release()
    told = stream.getvalue().splitlines()
    assert [word for line in told for word in ("one", "two") if word in line] == ["one", "two"]
    if form is LogFormat.CONSOLE:
        assert [line[:8] for line in told] == ["00:00:00", "00:00:01"]
    else:
        begun = datetime(2026, 1, 1).astimezone(UTC)
        assert json.loads(told[0])["timestamp"] == begun.isoformat().replace("+00:00", "Z")
    log.info("three")
    assert "three" in stream.getvalue()


def test_what_is_wrong_is_told_at_once_after_all_that_was_held() -> None:
    """A warning does not wait, and stays behind what led to it."""
    log, stream = a_log()
    log.hold()
    log.info("first")
    log.warning("then")
    assert [line.split("] ")[1] for line in stream.getvalue().splitlines()] == ["first", "then"]
    log.info("last")
    assert stream.getvalue().endswith("] last\n")
    log.release()
    assert stream.getvalue().count("first") == 1


def test_what_writes_is_loaded_by_what_is_written() -> None:
    """Neither a command that tells nothing nor a fleet that comes up waits for structlog."""
    script = (
        "import sys; from anchor_supervisor.observability.log import log;"
        "log.hold(); log.info('x'); a = 'structlog' in sys.modules; log.release();"
        "print(a, 'structlog' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "False True\n"
