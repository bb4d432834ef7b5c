"""Output on disk: every byte that went in comes out, in the CRI text format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.observability.log_reader import parse_record, read_records
from anchor_supervisor.observability.log_store import (
    HEADER,
    MAX_PIECE,
    LogWriter,
    encode_records,
    format_time,
    read_runs,
)

RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] [^\n]*")
NOW = 1_767_323_045_123_456_789  # 2026-01-02T03:04:05.123456789Z

CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.lists(st.sampled_from([b"\n", b"\r\n", b"\0", b"\xff", b"a", b" F ", b"line\n"]))
        .map(b"".join)
        .filter(bool)
        | st.binary(min_size=1),
    ),
    max_size=30,
)


def said(directory: Path) -> dict[str, bytes]:
    """What the files say each stream said, put together again."""
    streams = {"stdout": b"", "stderr": b""}
    for record in read_records(directory):
        streams[record.stream] += record.text + (b"" if record.partial else b"\n")
    return streams


@pytest.fixture
def directory() -> Iterator[Path]:
    """A log directory that does not exist yet."""
    with TemporaryDirectory() as place:
        yield Path(place) / "logs" / "web.1"


def test_the_format_is_cri(directory: Path) -> None:
    """A line is `time stream F text`; what has no newline yet is a P."""
    LogWriter(directory).write("stderr", b"one\n\ntwo", NOW)
    assert (directory / "0.log").read_bytes() == (
        b"2026-01-02T03:04:05.123456789Z stderr F one\n"
        b"2026-01-02T03:04:05.123456789Z stderr F \n"
        b"2026-01-02T03:04:05.123456789Z stderr P two\n"
    )


@given(CHUNKS, st.integers(60, 4000))
def test_every_byte_comes_back(chunks: list[tuple[str, bytes]], max_bytes: int) -> None:
    """Any bytes in any chunks are read again as they were said, across any number of rotations."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        writer = LogWriter(directory, max_bytes=max_bytes, max_files=100_000)
        expected = {"stdout": b"", "stderr": b""}
        for offset, (stream, data) in enumerate(chunks):
            writer.write(stream, data, NOW + offset)
            expected[stream] += data
        writer.close()
        assert said(directory) == expected
        for file in directory.iterdir():
            *lines, end = file.read_bytes().split(b"\n")
            assert end == b""
            assert all(RECORD.fullmatch(line) for line in lines)


@given(st.lists(st.integers(0, 3 * MAX_PIECE), min_size=1, max_size=4), st.booleans())
@settings(max_examples=40)
def test_long_lines_are_cut_in_pieces(lengths: list[int], ended: bool) -> None:
    """No piece is longer than 16 KiB, and together they are the lines."""
    data = b"\n".join(b"\r" + b"x" * length for length in lengths) + b"\n" * ended
    together = b""
    for line in encode_records(format_time(NOW), "stdout", data).split(b"\n")[:-1]:
        record = parse_record(line)
        assert record is not None
        assert len(record.text) <= MAX_PIECE
        together += record.text + (b"" if record.partial else b"\n")
    assert together == data


@given(CHUNKS.filter(bool), st.integers(0, 200))
def test_a_torn_record_is_settled(chunks: list[tuple[str, bytes]], cut: int) -> None:
    """However a crash cuts the last write, what follows is whole records, and earlier ones stay."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        writer = LogWriter(directory)
        for stream, data in chunks:
            writer.write(stream, data, NOW)
        writer.close()
        file = directory / "0.log"
        whole = file.read_bytes()
        kept = whole[: max(0, len(whole) - cut)]
        os.truncate(file, len(kept))
        after = LogWriter(directory)
        after.write("stdout", b"after\n", NOW)
        content = file.read_bytes()
        assert content.startswith(kept[: kept.rfind(b"\n") + 1])
        assert content.endswith(b" stdout F after\n")
        assert all(RECORD.fullmatch(line) for line in content.split(b"\n")[:-1])


@pytest.mark.parametrize("cut", [1, 5])
def test_a_torn_text_is_kept(directory: Path, cut: int) -> None:
    """Of a torn record whose head is whole, the text that is there stays."""
    LogWriter(directory).write("stdout", b"0123456789\n", NOW)
    os.truncate(directory / "0.log", HEADER + 11 - cut)
    LogWriter(directory).write("stdout", b"next\n", NOW)
    assert [r.text for r in read_records(directory)] == [b"0123456789"[: 11 - cut], b"next"]


def test_rotation_keeps_the_newest(directory: Path) -> None:
    """Never more than so many files of about so many bytes, and the newest lines are in them."""
    writer = LogWriter(directory, max_bytes=1000, max_files=3)
    for number in range(200):
        writer.write("stdout", b"line %d\n" % number, NOW + number)
    assert sorted(file.name for file in directory.iterdir()) == ["0.log", "1.log", "2.log"]
    assert all(file.stat().st_size <= 1000 for file in directory.iterdir())
    numbers = [int(record.text.split()[1]) for record in read_records(directory)]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 40


def test_a_crash_within_a_rotation_loses_nothing(directory: Path) -> None:
    """A gap in the generations (one renamed, its successor not yet) is filled by the next one."""
    writer = LogWriter(directory, max_bytes=60, max_files=4)
    for number in range(3):
        writer.write("stdout", b"line %d\n" % number, NOW)
    writer.close()
    (directory / "0.log").rename(directory / "1.new")
    (directory / "1.log").rename(directory / "2.log.moved")
    (directory / "2.log.moved").rename(directory / "3.log")
    (directory / "1.new").rename(directory / "0.log")
    again = LogWriter(directory, max_bytes=60, max_files=4)
    again.write("stdout", b"line 3\n", NOW)
    assert b"line 1" in {record.text for record in read_records(directory)}
    assert (directory / "3.log").read_bytes().endswith(b"line 1\n")


def test_an_unfinished_line_ends_with_its_run(directory: Path) -> None:
    """A run's last words without a newline do not run into the next run's first."""
    writer = LogWriter(directory)
    writer.end_run(NOW)
    writer.note_run(NOW)
    writer.write("stdout", b"Segmentation", NOW)
    writer.end_run(NOW + 1)
    writer.note_run(NOW + 1)
    writer.write("stdout", b"hello\n", NOW + 2)
    assert said(directory)["stdout"] == b"Segmentation\nhello\n"
    assert read_runs(directory) == [format_time(NOW), format_time(NOW + 1)]


def test_only_the_last_runs_are_remembered(directory: Path) -> None:
    """However many there are, of however many supervisors; the newest always are."""
    for former in range(3):
        writer = LogWriter(directory)
        for number in range(250):
            writer.note_run(NOW + 1000 * former + number)
            assert len(read_runs(directory)) <= 300
        writer.close()
    newest = [format_time(NOW + 2000 + number) for number in range(150, 250)]
    assert read_runs(directory)[-100:] == newest


def test_a_new_supervisor_ends_what_the_last_left_unfinished(directory: Path) -> None:
    """The same holds when another process wrote the unfinished line."""
    former = LogWriter(directory)
    former.write("stderr", b"half", NOW)
    former.write("stdout", b"whole\n", NOW)
    former.close()
    LogWriter(directory).end_run(NOW)
    assert said(directory) == {"stderr": b"half\n", "stdout": b"whole\n"}


def test_a_full_disk_is_told_once_and_survived(directory: Path) -> None:
    """Nothing raises, the bytes are counted, and the log itself tells of the gap afterwards."""
    complaints: list[str] = []
    directory.parent.mkdir(parents=True)
    directory.write_text("in the way")
    writer = LogWriter(directory, complain=complaints.append)
    for _ in range(3):
        writer.write("stdout", b"lost\n", NOW)
    assert writer.dropped_bytes == 15
    assert len(complaints) == 1
    directory.unlink()
    writer.write("stdout", b"back\n", NOW)
    assert said(directory) == {
        "stderr": b"anchor: 15 bytes of output were lost here\n",
        "stdout": b"back\n",
    }


@pytest.mark.parametrize("device", ["/dev/full"])
def test_what_is_not_a_file_is_not_written(directory: Path, device: str) -> None:
    """A link or a device in the log's place is refused, not followed."""
    directory.mkdir(parents=True)
    (directory / "0.log").symlink_to(device)
    complaints: list[str] = []
    writer = LogWriter(directory, complain=complaints.append)
    writer.write("stdout", b"x", NOW)
    assert writer.dropped_bytes == 1
    assert len(complaints) == 1


def test_a_removed_log_is_begun_again(directory: Path) -> None:
    """Removing the files under a running writer costs lines, never the writer."""
    writer = LogWriter(directory, max_bytes=100)
    writer.write("stdout", b"one\n", NOW)
    (directory / "0.log").unlink()
    writer.write("stdout", b"two\n" * 10, NOW)
    writer.write("stdout", b"three\n", NOW)
    assert said(directory)["stdout"].endswith(b"three\n")
    assert writer.dropped_bytes == 0


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_times_sort_as_their_texts(one: int, other: int) -> None:
    """Thirty characters each, in the order of time (until the year 9999)."""
    texts = format_time(one), format_time(other)
    assert [len(text) for text in texts] == [30, 30]
    assert (texts[0] < texts[1]) == (one < other)
