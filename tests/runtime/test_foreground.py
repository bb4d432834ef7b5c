"""The screen: everything in order for who reads, and nobody waits for who does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.runtime import foreground
from anchor_supervisor.runtime.foreground import Screen
from waiting import DEADLINE, eventually


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that stands for a terminal."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def read_all(reader: int) -> bytes:
    """All there is, to the end."""
    data = b""
    while piece := os.read(reader, 65536):
        data += piece
    return data


def test_what_is_put_is_written_in_order(pipe: tuple[int, int]) -> None:
    """Chunks and text, each whole, and all of it when the screen is closed."""
    reader, writer = pipe
    screen = Screen(writer)
    for number in range(100):
        screen.put(b"%d\n" % number)
    assert screen.write("ü\n") == 2
    screen.flush()
    screen.close()
    os.close(writer)
    assert read_all(reader) == b"".join(b"%d\n" % n for n in range(100)) + "ü\n".encode()


def test_a_stopped_reader_stops_nobody_and_is_told_what_it_missed(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`put` returns at once whether or not anything is read; what was dropped is counted."""
    monkeypatch.setattr(foreground, "QUEUE", 10)
    reader, writer = pipe
    screen = Screen(writer)
    chunk = b"x" * 65535 + b"\n"
    began = time.monotonic()
    for _ in range(100):
        screen.put(chunk)
    assert time.monotonic() - began < DEADLINE / 2
    seen = bytearray()
    thread = threading.Thread(target=lambda: seen.extend(read_all(reader)))
    thread.start()
    eventually(screen._queue.empty, what="the queue was written")
    screen.put(b"last\n")
    screen.close()
    os.close(writer)
    thread.join(DEADLINE)
    lines = bytes(seen).splitlines()
    shown = sum(line == chunk[:-1] for line in lines)
    assert lines[-2:] == [f"... {100 - shown} chunks not shown".encode(), b"last"]
    assert 10 <= shown < 100


def test_a_close_waits_only_so_long(pipe: tuple[int, int]) -> None:
    """A terminal that stays stopped does not keep the supervisor from ending."""
    _, writer = pipe
    screen = Screen(writer)
    screen.put(b"x" * 1_000_000)
    began = time.monotonic()
    screen.close(patience=0.05)
    assert time.monotonic() - began < DEADLINE / 2


def test_a_reader_that_went_away_is_no_error(pipe: tuple[int, int]) -> None:
    """Nobody is left to tell: later chunks go nowhere, and nothing is raised."""
    reader, writer = pipe
    os.close(reader)
    screen = Screen(writer)
    screen.put(b"one\n")
    assert screen._thread is not None
    screen._thread.join(DEADLINE)
    assert not screen._thread.is_alive()
    screen.put(b"two\n")
    screen.close(patience=0.05)


def test_a_terminal_that_somebody_made_non_blocking_gets_everything(pipe: tuple[int, int]) -> None:
    """O_NONBLOCK belongs to the open file, which others share: it is waited out, not believed."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    screen = Screen(writer)
    data = b"".join(b"%07d\n" % number for number in range(100_000))
    screen.put(data)
    seen = bytearray()
    thread = threading.Thread(target=lambda: seen.extend(read_all(reader)))
    thread.start()
    screen.close(patience=DEADLINE)
    os.close(writer)
    thread.join(DEADLINE)
    assert bytes(seen) == data


def test_a_screen_that_never_showed_anything_has_nothing_to_close() -> None:
    """No thread is started for silence."""
    before = threading.active_count()
    Screen(1).close()
    assert threading.active_count() == before


def test_a_file_has_everything_at_once(tmp_path: Path) -> None:
    """It stops nobody, so it is written without a thread, in order, at its end."""
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    before = threading.active_count()
    screen = Screen(descriptor)
    for number in range(3):
        screen.put(b"%d\n" % number)
        assert path.read_bytes().endswith(b"%d\n" % number)
    screen.close()
    assert threading.active_count() == before
    assert path.read_bytes() == b"before\n0\n1\n2\n"
    os.close(descriptor)
    screen.put(b"lost\n")
