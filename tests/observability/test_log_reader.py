"""Reading logs: from the end, from a time, of a run, and on while they are written and rotated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.observability.log_reader import LogCursor, parse_record, read_records
from anchor_supervisor.observability.log_store import LogWriter, format_time

NOW = 1_767_323_045_000_000_000


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty log directory."""
    with TemporaryDirectory() as place:
        yield Path(place)


def texts(directory: Path, **window: object) -> list[bytes]:
    """The texts of the records in a window."""
    return [record.text for record in read_records(directory, **window)]  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=12)), st.integers(0, 12), st.integers(90, 500))
def test_the_tail_is_the_end_of_the_whole(lines: list[bytes], tail: int, max_bytes: int) -> None:
    """The last N lines are what the last N lines of everything are, wherever the files are cut."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        writer = LogWriter(directory, max_bytes=max_bytes, max_files=1000)
        for line in lines:
            writer.write("stdout", line.replace(b"\n", b"") + b"\n", NOW)
        whole = texts(directory)
        assert texts(directory, tail=tail) == (whole[-tail:] if tail else [])


def test_a_line_in_pieces_counts_once(directory: Path) -> None:
    """The tail counts lines, not records, and gives every piece of the first of them."""
    writer = LogWriter(directory)
    for data in (b"one\n", b"t", b"w", b"o\n", b"three\n", b"fo"):
        writer.write("stdout", data, NOW)
    assert texts(directory, tail=1) == [b"fo"]
    assert texts(directory, tail=2) == [b"three", b"fo"]
    assert texts(directory, tail=3) == [b"t", b"w", b"o", b"three", b"fo"]


def test_since_leaves_out_what_is_older(directory: Path) -> None:
    """Records from that time on, the time itself included."""
    writer = LogWriter(directory, max_bytes=100, max_files=50)
    for second in range(10):
        writer.write("stdout", b"%d\n" % second, NOW + second * 10**9)
    since = format_time(NOW + 7 * 10**9)
    assert texts(directory, since=since) == [b"7", b"8", b"9"]
    assert texts(directory, since=since, tail=2) == [b"8", b"9"]
    assert texts(directory, since=since, tail=20) == [b"7", b"8", b"9"]


def test_the_previous_run(directory: Path) -> None:
    """`previous` gives the run before the present one, and nothing where there was none."""
    writer = LogWriter(directory)
    writer.end_run(NOW)
    writer.note_run(NOW)
    writer.write("stdout", b"first\n", NOW + 1)
    assert texts(directory, previous=True) == []
    writer.end_run(NOW + 10)
    writer.note_run(NOW + 10)
    writer.write("stdout", b"second\n", NOW + 11)
    assert texts(directory, previous=True) == [b"first"]
    writer.end_run(NOW + 20)
    writer.note_run(NOW + 20)
    writer.write("stdout", b"third\n", NOW + 21)
    assert texts(directory, previous=True, tail=5) == [b"second"]


def test_nothing_there_yet(directory: Path) -> None:
    """A log that does not exist is empty, and a cursor on it sees what comes."""
    with LogCursor(directory / "later", tail=3) as cursor:
        assert cursor.read_some() is None
        LogWriter(directory / "later").write("stdout", b"x\n", NOW)
        assert [record.text for record in cursor.read_some() or []] == [b"x"]
        assert cursor.read_some() is None


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=30), max_size=6), max_size=12),
    st.integers(60, 300),
)
def test_a_follower_misses_nothing(turns: list[list[bytes]], max_bytes: int) -> None:
    """Who reads on while lines come and files rotate sees every byte once, in order."""
    with TemporaryDirectory() as place:
        writer = LogWriter(Path(place), max_bytes=max_bytes, max_files=40)
        seen = b""
        said = b""
        with LogCursor(Path(place)) as cursor:
            for turn in turns:
                for data in turn:
                    writer.write("stdout", data, NOW)
                    said += data
                while (records := cursor.read_some()) is not None:
                    for record in records:
                        seen += record.text + (b"" if record.partial else b"\n")
        assert seen == said


def test_a_record_is_seen_once_it_is_whole(directory: Path) -> None:
    """A follower does not take a record that is only half on disk."""
    LogWriter(directory).write("stdout", b"begun\n", NOW)
    file = directory / "0.log"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with LogCursor(directory) as cursor:
        assert cursor.read_some() == []
        with file.open("ab") as rest:
            rest.write(whole[-3:])
        assert [record.text for record in cursor.read_some() or []] == [b"begun"]


@given(st.binary(max_size=80))
def test_what_is_not_a_record_is_none(line: bytes) -> None:
    """Any line is a record or nothing; it never raises."""
    record = parse_record(line.replace(b"\n", b""))
    assert record is None or record.stream in {"stdout", "stderr"}
