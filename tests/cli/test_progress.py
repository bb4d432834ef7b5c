"""Bars on a terminal, lines elsewhere: what a person sees of work under way."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Iterator
from typing import Final, final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.cli.progress import INTERVAL, Bars, bars, cells, cut
from anchor_supervisor.images.progress import Silent
from waiting import eventually

_MARK: Final = b"\0"
_SEQUENCE: Final = re.compile(r"\x1b\[(\d*)([A-Za-z])")


@final
class Screen:
    """A terminal of a pseudo-terminal pair, and what is on it by now."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        """An empty screen with the cursor at its top."""
        self.main, other = pty.openpty()
        self.stream = os.fdopen(other, "w")
        self.resize(columns, rows)
        self.lines: list[str] = [""]
        self.row = self.column = 0
        self.raw = ""
        self._later = b""

    def resize(self, columns: int, rows: int = 24) -> None:
        """Have another size."""
        self.columns = columns
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def look(self) -> list[str]:
        """Carry out what has been written; give the lines."""
        os.write(self.stream.fileno(), _MARK)  # what was written comes out in the kernel's own time
        data = self._later
        while _MARK not in data:
            data += os.read(self.main, 1 << 16)
        now, _, self._later = data.partition(_MARK)  # whoever draws goes on drawing
        text = now.decode()
        self.raw += text
        at = 0
        while at < len(text):
            match = _SEQUENCE.match(text, at)
            if match:
                self._control(int(match[1] or 1), match[2])
                at = match.end()
            else:
                self._put(text[at])
                at += 1
        return self.lines

    def _control(self, count: int, what: str) -> None:
        if what == "F":
            assert self.row >= count, "above the screen"
            self.row, self.column = self.row - count, 0
        elif what == "J":
            del self.lines[self.row + 1 :]
            self.lines[self.row] = self.lines[self.row][: self.column]
        else:
            assert what == "m", what

    def _put(self, character: str) -> None:
        if character == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        elif character == "\r":
            self.column = 0
        else:
            assert self.column < self.columns, "beyond the edge"
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def close(self) -> None:
        """Give it back."""
        self.stream.close()
        os.close(self.main)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A terminal that likes no colour."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    made = Screen()
    yield made
    made.close()


@final
class Clock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Say it."""
        return self.now


def test_a_file_gets_a_line_for_each_end() -> None:
    """Nothing is drawn; what has ended is said with its bytes and its time, and what is noted."""
    clock, stream = Clock(), io.StringIO()
    with Bars(stream, clock=clock) as progress:
        progress.begin("layer", "downloading", 3 << 20)
        clock.now += 2
        progress.advance("layer", 3 << 20)
        progress.begin("layer", "unpacking", 3 << 20)
        progress.note("patience")
        progress.end("layer", "pulled")
        progress.end("other", "already here")
    assert stream.getvalue() == "patience\nlayer: pulled (3M in 2s)\nother: already here\n"


def test_a_terminal_shows_what_is_under_way(screen: Screen) -> None:
    """A line for each item with bar, bytes and speed; what has ended stays above."""
    clock = Clock()
    progress = Bars(screen.stream, clock=clock)
    progress.begin("one", "downloading", 1 << 20)
    progress.begin("another", "unpacking")
    progress.draw()
    progress.advance("one", 1 << 19)
    clock.now += 1
    progress.draw()
    line, other, end = screen.look()
    assert re.fullmatch(r"one      downloading  \[#{15}\.{15}\]  512K/1M  512K/s", line)
    assert (other, end) == ("another  unpacking", "")
    progress.end("one", "pulled")
    progress.note("noted")
    progress.draw()
    assert screen.look() == ["one: pulled (1M in 1s)", "noted", "another  unpacking", ""]
    with progress:
        pass
    assert screen.look() == ["one: pulled (1M in 1s)", "noted", ""]
    assert screen.column == 0


def test_it_draws_by_itself_and_not_too_often(screen: Screen) -> None:
    """A thread draws ten times a second at most, however often something is reported."""
    begun = time.monotonic()
    with Bars(screen.stream) as progress:
        progress.begin("item", "doing", 1000)
        for _ in range(1000):
            progress.advance("item", 1)
        eventually(lambda: screen.look()[0], lambda line: "1000/1000" in line, what="drawn")
        eventually(lambda: (screen.look(), screen.raw.count("item") >= 3)[1], what="again")
    assert screen.raw.count("item") <= (time.monotonic() - begun) / INTERVAL


@pytest.mark.parametrize("columns", [1, 2, 10, 25, 40, 60])
def test_narrow_terminals(screen: Screen, columns: int) -> None:
    """A line is cut rather than folded, whatever the width; the screen's asserts watch."""
    screen.resize(columns)
    progress = Bars(screen.stream, clock=Clock())
    for number in range(3):
        progress.begin(f"a long name of item {number}", "downloading", 1 << 30)
        progress.advance(f"a long name of item {number}", 1 << number)
        progress.draw()
    lines = screen.look()
    assert len(lines) == 4
    assert all(cells(line) < max(columns, 2) for line in lines)


def test_more_items_than_rows(screen: Screen) -> None:
    """What does not fit is counted, so that the cursor can always go back up."""
    screen.resize(40, 6)
    progress = Bars(screen.stream, clock=Clock())
    for number in range(10):
        progress.begin(f"item{number}", "doing")
    progress.draw()
    progress.draw()
    assert screen.look() == [
        *("item0  doing", "item1  doing", "item2  doing", "... and 7 more", ""),
    ]


def test_a_terminal_that_becomes_narrower(screen: Screen) -> None:
    """The rows that were folded since are gone over as well."""
    progress = Bars(screen.stream, clock=Clock())
    progress.begin("item", "doing", 1 << 20)
    progress.draw()
    wide = cells(screen.look()[0])
    screen.resize(20)
    screen.raw = ""
    screen.row += -(-wide // 20) - 1  # as a terminal does that folds
    screen.lines = [""] * (screen.row + 1)
    progress.draw()
    screen.look()
    assert screen.raw.startswith(f"\x1b[{-(-wide // 20)}F\x1b[J")


def test_colours(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is green where colours are welcome, and nothing else is."""
    monkeypatch.delenv("NO_COLOR")
    progress = Bars(screen.stream, clock=Clock())
    progress.begin("item", "doing", 10)
    progress.advance("item", 10)
    progress.draw()
    [line, _] = screen.look()
    assert re.search(r"\[\x1b\[32m#+\x1b\[0m\]", screen.raw)
    assert re.search(r"\[#+\]", line)


def test_a_dumb_terminal_gets_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb knows no cursor."""
    monkeypatch.setenv("TERM", "dumb")
    with Bars(screen.stream) as progress:
        progress.begin("item", "doing", 10)
        progress.end("item", "done")
    assert "\x1b" not in "".join(screen.look())


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x1b]0;title\x07", "\u202egnp", "\r\x9b1A"])
def test_texts_are_harmless(screen: Screen, text: str) -> None:
    """Names, verbs, endings and notes come from elsewhere; none of them moves the cursor."""
    progress = Bars(screen.stream, clock=Clock())
    progress.begin(text, text, 10)
    progress.draw()
    progress.end(text, text)
    progress.note(text)
    with progress:
        pass
    screen.look()  # asserts that every sequence is one of ours
    assert len(screen.lines) == 3
    assert not re.search("[\x07\x9b\u202e]", screen.raw)
    assert screen.raw.count("\x1b") == 2  # up and clear, once


def test_a_stream_that_is_gone() -> None:
    """Nobody looks any more; the work goes on."""
    stream = io.StringIO()
    progress = Bars(stream)
    stream_closed = Bars.__enter__(progress)
    stream.close()
    stream_closed.note("unheard")
    stream_closed.end("item", "done")
    Bars.__exit__(progress, None, None, None)
    assert stream.closed


def test_many_threads(screen: Screen) -> None:
    """Everybody reports at once, and every byte is counted."""
    with Bars(screen.stream) as progress:
        progress.begin("shared", "doing", 4000)

        def work(number: int) -> None:
            for _ in range(1000):
                progress.advance("shared", 1)
            progress.end(f"own{number}", "done")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        progress.end("shared", "done")
    lines = screen.look()
    assert {line for line in lines if line.startswith("own")} == {f"own{n}: done" for n in range(4)}
    assert any(re.match(r"shared: done \(3.9K in ", line) for line in lines)


def test_quiet() -> None:
    """Nothing at all."""
    with bars(quiet=True) as progress:
        assert isinstance(progress, Silent)
    with bars() as progress:
        assert isinstance(progress, Bars)


@given(st.text(alphabet="aé漢e\u0301", max_size=20), st.integers(0, 20))
def test_cutting(text: str, columns: int) -> None:
    """What is cut fits, and what fits is not cut."""
    shown = cut(text, columns)
    assert cells(shown) <= columns
    assert shown == text or (not text.startswith(shown) if shown else cells(text) > columns)


def test_columns() -> None:
    """Wide characters take two, combining ones none."""
    assert [cells(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]
