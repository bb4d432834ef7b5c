"""A `log` probe: a line that matches is noticed as it ends, and no line can hold us up."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from anchor_supervisor.fleet.model import (
    Container,
    Health,
    Image,
    ImageKind,
    LogProbe,
    Startup,
)
from anchor_supervisor.fleet.wording import printable
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.runtime.line_watch import MAX_LINE, LineWatch, probe_log
from anchor_supervisor.runtime.output import SMALL
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from real_fleet import WEB, Workshop, sh
from waiting import DEADLINE

NOWHERE = Path("/nowhere")
PLAIN = Container("web", Image(ImageKind.HOST, "host"))
SLOW = r"^(([a-z])+.)+[A-Z]([a-z])+$"
"""A pattern that takes for ever over many small letters."""


def watching(*patterns: str) -> LineWatch:
    """A watch for one pattern in `health`, and perhaps another in `startup`."""
    health, *startup = (LogProbe(pattern) for pattern in patterns)
    return LineWatch(
        evolve(
            PLAIN,
            health=Health(health),
            startup=Startup(startup[0]) if startup else None,
        )
    )


async def asked(watch: LineWatch, pattern: str) -> ProbeAnswer:
    """The answer to a probe that need not wait."""
    with trio.fail_after(DEADLINE):
        return await probe_log(watch, pattern, NOWHERE, 1000.0)


def waits(watch: LineWatch) -> bool:
    """Whether anything is left to look for, by now."""
    return watch.waits


async def test_a_line_counts_once_it_is_complete() -> None:
    """Wherever the chunks break it, on either stream, and not a moment before its end."""
    watch = watching("^ready in [0-9]+ms$")
    answers: list[ProbeAnswer] = []

    async def ask() -> None:
        answers.append(await probe_log(watch, "^ready in [0-9]+ms$", NOWHERE, 1000.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        for stream, data in (
            ("stdout", b"not ready in 5ms\nrea"),
            ("stderr", b"ready in no time\ndy in 6ms\n"),
            ("stdout", b"dy in 7ms"),
        ):
            watch.feed(stream, data)
        await wait_all_tasks_blocked()
        assert not answers
        watch.feed("stdout", b"\r\nmore\n")
    assert answers == [ProbeAnswer(ok=True, output="seen: ready in 7ms")]
    assert not waits(watch)


async def test_what_was_said_before_the_question_counts() -> None:
    """However long ago, and every time it is asked in the run."""
    watch = watching("ready", "begun")
    watch.feed("stderr", b"begun\n")
    assert waits(watch)
    watch.feed("stderr", b"ready\n" * 10)
    for _ in range(2):
        for pattern in ("ready", "begun"):
            assert await asked(watch, pattern) == ProbeAnswer(ok=True, output=f"seen: {pattern}")


async def test_the_time_limit_says_what_did_not_come(autojump_clock: MockClock) -> None:
    """The pattern, as the file has it."""
    watch = watching("ready")
    watch.feed("stdout", b"nothing\n")
    found = await probe_log(watch, "ready", NOWHERE, 5.0)
    assert found == ProbeAnswer(ok=False, output="no line of this run has matched `ready` yet")
    assert trio.current_time() >= 5.0
    assert not (await probe_log(None, "ready", NOWHERE, 5.0)).ok


@given(st.lists(st.binary(max_size=9), max_size=30), st.data())
def test_no_break_hides_or_makes_a_line(lines: list[bytes], data: st.DataObject) -> None:
    """The first matching line is what a search over whole lines finds."""
    said = b"".join(line.replace(b"\n", b"") + b"\n" for line in [*lines, b"a-z", *lines])
    watch = watching("^a.z$")
    texts = (line.removesuffix(b"\r").decode(errors="replace") for line in said.split(b"\n"))
    first = next(text for text in texts if re.search("^a.z$", text))
    while said:
        cut = data.draw(st.integers(1, len(said)))
        watch.feed("stdout", said[:cut])
        said = said[cut:]
    assert not waits(watch)
    assert watch._searches["^a.z$"].found == printable(first)


async def test_a_line_is_looked_at_no_further_than_it_may_be_long() -> None:
    """Neither is more of it kept; what follows the line is looked at as ever."""
    watch = watching("needle")
    for _ in range(64):
        watch.feed("stdout", b"x" * 4096)
    assert len(watch._begun["stdout"]) <= MAX_LINE
    watch.feed("stdout", b"needle\n")
    assert waits(watch)
    watch.feed("stdout", b"x" * (MAX_LINE - 6) + b"needle\n")
    assert not waits(watch)


async def test_a_pattern_that_takes_too_long_is_given_up(autojump_clock: MockClock) -> None:
    """After 20 ms of the loop's time, once; later lines cost nothing, and the answer says so."""
    watch = watching(SLOW)
    begun = time.thread_time()
    watch.feed("stdout", b"a" * 3000 + b"\n")
    assert not waits(watch)
    watch.feed("stdout", (b"a" * 3000 + b"\n") * 1000)
    assert time.thread_time() - begun < 1.0
    found = await probe_log(watch, SLOW, NOWHERE, 5.0)
    assert not found.ok
    assert found.output == f"`{SLOW}` was given up: a line took longer than 20ms"
    assert trio.current_time() >= 5.0, "asked again at once, it would fail at once"


async def test_many_slow_lines_are_given_up_too() -> None:
    """Each of them in time, all of them together not."""
    pattern = "(.*,){3}P"
    watch = watching(pattern)
    search = watch._searches[pattern]
    for length in range(8, 1000, 8):
        begun = time.thread_time()
        if search.look(b"a," * length) or time.thread_time() - begun > 0.004:
            break
    else:
        pytest.fail("no line is slow on this machine")
    for _ in range(1000):
        watch.feed("stdout", b"a," * length + b"\n")
        if not waits(watch):
            break
    assert (search.given_up or "").startswith(f"`{pattern}` was given up")


async def test_a_new_pattern_finds_what_the_run_has_said(tmp_path: Path) -> None:
    """A probe that was changed while the container runs: its log is read, of this run alone."""
    log = LogWriter(tmp_path)
    log.end_run(1_000)
    log.note_run(1_000)
    log.write("stdout", b"old words\n", 2_000)
    log.end_run(3_000)
    log.note_run(3_000)
    log.write("stdout", b"new ", 4_000)
    log.write("stderr", b"other\n", 5_000)
    log.write("stdout", b"words\n", 6_000)
    log.close()
    watch = LineWatch(PLAIN)
    assert not waits(watch)
    with trio.fail_after(DEADLINE):
        answer = await probe_log(watch, "^new words$", tmp_path, 1000.0)
    assert answer == ProbeAnswer(ok=True, output="seen: new words")
    assert not waits(watch)
    with trio.move_on_after(0.2):
        await probe_log(watch, "old", tmp_path, 1000.0)
    assert waits(watch)
    watch.feed("stdout", b"old again\n")
    assert await asked(watch, "old") == ProbeAnswer(ok=True, output="seen: old again")


async def test_what_is_shown_of_a_line_is_harmless() -> None:
    """No control character of the container's reaches an answer, nor much text."""
    watch = watching("ready")
    watch.feed("stdout", b"\x1b[31mready\xff" + b"x" * 10_000 + b"\n")
    answer = await asked(watch, "ready")
    assert answer.output.isprintable()
    assert len(answer.output) < 1000


def test_only_a_log_probe_needs_the_package() -> None:
    """`regex` takes 20 ms to import, which fleets without one do not pay."""
    script = (
        "import sys; from attrs import evolve; from anchor_supervisor.fleet.model import *;"
        "from anchor_supervisor.runtime import machine; from anchor_supervisor.runtime.line_watch"
        " import LineWatch; plain = Container('web', Image(ImageKind.HOST, 'host'));"
        "LineWatch(plain); LineWatch(evolve(plain, health=Health(TcpProbe(80))));"
        "assert 'regex' not in sys.modules;"
        "LineWatch(evolve(plain, health=Health(LogProbe('x')))); assert 'regex' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))


@pytest.mark.root
async def test_a_containers_line_is_seen_at_once(workshop: Workshop) -> None:
    """On either stream; and a new run has said nothing yet."""
    script = sh("echo not yet; echo is ready >&2; exec sleep 1000")
    fleet = workshop.fleet(script, 'health = { log = "^is ready$$" }')
    probe = LogProbe("^is ready$")
    async with workshop.running(fleet) as real:
        for _ in range(2):
            run = await real.start()
            with trio.fail_after(DEADLINE):
                answer = await real.machine.probe(WEB, probe, 1000.0)
            assert answer == ProbeAnswer(ok=True, output="seen: is ready")
            real.machine.kill(WEB)
            await run.wait()
            assert not (await real.machine.probe(WEB, probe, 0.01)).ok


@pytest.mark.root
async def test_a_flood_of_short_lines_leaves_the_loop_responsive(workshop: Workshop) -> None:
    """While a pattern is looked for, no turn of the loop looks at more than it bears."""
    fleet = workshop.fleet(sh("yes ''"), 'health = { log = "never" }')
    async with workshop.running(fleet) as real:
        run = await real.start()
        heard = [0]
        with trio.fail_after(DEADLINE):
            while heard[-1] < 100_000:
                await trio.lowlevel.checkpoint()
                heard.append(len(real.heard[WEB, "stdout"]))
        # Each byte is a line here, and a turn of the loop has at most a few of a pump's.
        assert max(after - before for before, after in itertools.pairwise(heard)) <= 4 * SMALL
        real.machine.kill(WEB)
        await run.wait()
