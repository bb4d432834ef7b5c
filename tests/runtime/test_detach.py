"""Splitting off the supervisor: news reach who waits, and nobody waits for who has gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anchor_supervisor.runtime.detach import Background, Reporter

SCRIPT = """
import os, sys
from pathlib import Path
from anchor_supervisor.runtime.detach import Background, Reporter, fork_supervisor
{before}
split = fork_supervisor(Path(sys.argv[1]))
if isinstance(split, Reporter):
    {child}
    os._exit(7)
{parent}
"""
FOLLOW = """
while (news := split.read()) is not None:
    for item in news:
        print(item)
print("exit", split.exit_code())
"""


def play(
    tmp_path: Path, child: str, parent: str = FOLLOW, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """A script that splits; `child` is one line of the supervisor, `parent` what the other does."""
    script = SCRIPT.format(before=before, child=child, parent=parent)
    return subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a" / "log"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )


def test_news_arrive_in_order_and_then_the_exit_code(tmp_path: Path) -> None:
    """Everything that was told, and how the supervisor ended; its own words are in the log."""
    said = play(
        tmp_path,
        "print('from the child'); sys.stdout.flush(); [split.tell(event='n', number=n, text='ü\\n')"
        " for n in range(300)]; print('wrong', file=sys.stderr)",
    )
    assert said.stderr == ""
    *news, last = said.stdout.splitlines()
    expected = [{"event": "n", "number": n, "text": "ü\n"} for n in range(300)]
    assert news == [str(item) for item in expected]
    assert last == "exit 7"
    assert (tmp_path / "a/log").read_text() == "from the child\nwrong\n"
    assert (tmp_path / "a/log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_the_supervisor_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    """The terminal's signals do not reach it, and its input is empty."""
    said = play(
        tmp_path,
        "split.tell(sid=os.getsid(0) == os.getpid(), input=sys.stdin.read(),"
        " inherited=sorted(os.listdir('/proc/self/fd'))[:3])",
        FOLLOW,
    )
    assert "{'sid': True, 'input': '', 'inherited': ['0', '1', '2']}" in said.stdout


def test_what_the_caller_had_open_is_closed(tmp_path: Path) -> None:
    """A lock that a script holds is not held for as long as the fleet runs."""
    said = play(
        tmp_path,
        "split.tell(open=[os.readlink(f'/proc/self/fd/{n}') for n in range(3, 100)"
        " if os.path.exists(f'/proc/self/fd/{n}')])",
        FOLLOW,
        before=f"held = os.open({str(tmp_path)!r}, 0)",
    )
    assert str(tmp_path) not in said.stdout
    assert "{'open': [" in said.stdout


@pytest.mark.parametrize("together", [1, 7, 5000])
def test_a_parent_that_does_not_read_stops_nobody(together: int) -> None:
    """However many states there are to tell: they are dropped, and the verdict is not."""
    reader, writer = os.pipe()
    reporter = Reporter(writer)
    told = [{"name": "web", "reason": f"restart {number}"} for number in range(5000)]
    for first in range(0, len(told), together):
        reporter.tell_states(told[first : first + together])
    reporter.tell(event="ready")
    reporter.close()
    with os.fdopen(reader) as pipe:
        *states, last = [json.loads(line) for line in pipe]
    assert last == {"event": "ready"}
    assert 0 < len(states) < 5000
    assert states == [{"event": "state", **state} for state in told[: len(states)]]


def test_a_parent_that_has_gone_does_not_disturb(tmp_path: Path) -> None:
    """The child goes on telling into the void, without an error."""
    go = tmp_path / "go"
    os.mkfifo(go)
    said = play(
        tmp_path,
        f"open({str(go)!r}).read(); [split.tell(event='x' * 5000) for _ in range(50)];"
        " print('survived', flush=True)",
        f"os.close(split.descriptor); open({str(go)!r}, 'w').close(); print(split.exit_code())",
    )
    assert said.stdout == "7\n"
    assert (tmp_path / "a/log").read_text() == "survived\n"


def test_a_signal_is_told_as_a_shell_would(tmp_path: Path) -> None:
    """128 + N."""
    said = play(tmp_path, "os.kill(os.getpid(), 9)")
    assert said.stdout == "exit 137\n"


def test_cancelling_asks_politely_and_waits(tmp_path: Path) -> None:
    """SIGTERM, and the supervisor's own end."""
    said = play(
        tmp_path,
        "import signal; signal.signal(15, lambda *_: (print('asked', flush=True), os._exit(0)));"
        " split.tell(event='up'); signal.pause()",
        "split.read(); split.cancel(); print('ended')",
    )
    assert said.stdout == "ended\n"
    assert (tmp_path / "a/log").read_text() == "asked\n"


def test_news_may_come_in_pieces() -> None:
    """A line that is cut by the pipe is put together again."""
    reader, writer = os.pipe()
    background = Background(os.getpid(), reader)
    line = json.dumps({"event": "state", "name": "web.1"}).encode() + b"\n"
    os.write(writer, line + line[:10])
    assert [item["name"] for item in background.read() or ()] == ["web.1"]
    os.write(writer, line[10:])
    assert [item["name"] for item in background.read() or ()] == ["web.1"]
    os.close(writer)
    assert background.read() is None
    os.close(reader)


def test_after_the_close_nothing_is_told() -> None:
    """The parent sees the end of the pipe; telling goes on as if nothing were."""
    reader, writer = os.pipe()
    reporter = Reporter(writer)
    reporter.tell(event="ready")
    reporter.close()
    reporter.close()
    reporter.tell(event="late")
    assert os.read(reader, 1000) == b'{"event": "ready"}\n'
    assert os.read(reader, 1000) == b""
    os.close(reader)


@pytest.mark.parametrize("news", [{"a": None}, {"event": "done", "exit_code": 0}])
def test_nobody_asked_for_news(news: dict[str, object]) -> None:
    """In the foreground there is no parent: telling does nothing."""
    reporter = Reporter(None)
    reporter.tell(**news)
    reporter.close()
    assert reporter == Reporter(None)
