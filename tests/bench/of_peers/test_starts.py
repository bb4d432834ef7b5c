"""Commands are timed, waited for, ended and weighed; what they complain of is kept."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence

import pytest

from peers.corner import Corner
from peers.starts import (
    CommandError,
    Engine,
    Running,
    ask,
    each,
    finish,
    lanes,
    once,
    size_of,
    stamp,
)

SAYS = "import time, sys; print(time.monotonic_ns(), flush=True)"


def engine(*wait: str, ends: str | None = None) -> Engine:
    """An engine whose containers are processes."""

    def end(names: Sequence[str]) -> list[list[str]]:
        return [["sh", "-c", str(ends), *names]]

    return Engine(
        "a shell",
        "sh",
        "1",
        "none",
        False,
        lambda _: ["/usr/bin/env", "python3", "-c", SAYS],
        (lambda _: wait) if wait else None,
        end if ends is not None else None,
    )


def test_a_moment_is_found_among_other_words() -> None:
    """An engine may say something of its own, before and after."""
    assert stamp("Press Ctrl-] to kill\n  12345678901\r\nbye 7\n") == 12345678901
    with pytest.raises(CommandError, match="did not say when it began"):
        stamp("nothing 12345678901 of the kind\n")


def test_a_sample_is_the_whole_command_and_its_first_instruction(place: Corner) -> None:
    """The first instruction comes before the end."""
    sample = once(engine().once("a"), place.run)
    assert 0 < sample.first < sample.whole


def test_what_a_command_complained_of_is_told(place: Corner) -> None:
    """Its last line, but not the one that leads to a manual; or its exit code."""
    script = "echo first >&2; echo 'no such image' >&2; echo; echo \"Run 'x --help'\" >&2; exit 3"
    with pytest.raises(CommandError, match=r"^no such image$"):
        ask(["sh", "-c", script], place.run)
    with pytest.raises(CommandError, match=r"^exit code 4$"):
        ask(["sh", "-c", "exit 4"], place.run)
    with pytest.raises(CommandError, match=r"^/no/such: No such file or directory$"):
        ask(["/no/such"], place.run)


def test_output_that_stays_open_is_not_waited_for(place: Corner) -> None:
    """A container keeps the descriptors of the command that started it."""
    begun = time.monotonic()
    _, _, said = ask(["sh", "-c", "sleep 30 & echo $!"], place.run)
    subprocess.run(["kill", said.strip()], check=True)
    assert time.monotonic() - begun < 20


def test_a_command_without_end_is_given_up() -> None:
    """And nothing of it is left."""
    process = subprocess.Popen(["sleep", "30"])
    with pytest.raises(CommandError, match=r"^no end within 0\.05 s$"):
        finish(process, 0.05)
    assert process.returncode == -signal.SIGKILL
    assert finish(process) == -signal.SIGKILL  # asked again, it has an answer still


def test_several_are_run_by_their_names(place: Corner) -> None:
    """One sample each."""
    assert len(each(engine(), place, ["a", "b", "c"])) == 3


def test_a_command_that_lives_as_long_as_its_container(place: Corner) -> None:
    """It runs once it has said so; it is weighed, and ended."""
    asked = engine("sh", "-c", "echo 1; exec sleep 30")
    running = Running(asked, place.run)
    running.start("a", ["sh", "-c", "echo 1; exec sleep 30"])
    (process,) = running.held.values()
    assert process.poll() is None
    assert running.beside() >= size_of(process.pid) > 0
    running.end()
    assert process.returncode == -signal.SIGTERM
    assert not running.held


def test_one_that_does_not_start_says_why(place: Corner) -> None:
    """What it held is closed."""
    running = Running(engine("true"), place.run)
    with pytest.raises(CommandError, match=r"^no network$"):
        running.start("a", ["sh", "-c", "echo no network >&2; exit 1"])
    running.end()


def test_a_command_that_leaves_a_container_behind(place: Corner) -> None:
    """It is ended by the engine's own command, and weighed by what has its name or identity."""
    identity = "ab" * 32
    asked = engine("true", ends='for name; do touch "$PWD/$name"; kill $(cat pid); done')
    running = Running(asked, place.run)
    script = f"sh -c 'sleep 30; :' monitor-{identity} >/dev/null & echo $! > pid; echo {identity}"
    argv = ["sh", "-c", f"cd {place.run}; {script}"]
    running.start("one", argv)
    pid = int((place.run / "pid").read_text())
    assert running.beside() >= size_of(pid) > 0
    asked_to_end = ["sh", "-c", f"cd {place.run}; {asked.end(['one'])[0][2]}", "sh", "one"]  # type: ignore[misc]
    ask(asked_to_end, place.run)
    assert (place.run / "one").exists()


def test_what_has_ended_weighs_nothing() -> None:
    """It may go between two looks."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert size_of(process.pid) == 0


def test_lanes_wait_until_all_is_over(place: Corner) -> None:
    """So many at a time; what had not begun when it went wrong does not begin."""
    asked = engine()
    with lanes(asked, place, 2) as pool:
        assert list(pool.map(lambda one: one * 2, (1, 2, 3))) == [2, 4, 6]
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(print)
