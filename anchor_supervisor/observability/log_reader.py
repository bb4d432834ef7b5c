"""Reading what `log_store` writes, from any process, while it is written and rotated.

Standard library only, no clock, no waiting: who follows a log is told elsewhere when to look
again. Lines that are not records (a torn one, say) are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, final

from anchor_supervisor.observability.log_store import (
    HEADER,
    HEADS,
    format_time,
    log_file_name,
    read_runs,
)
from anchor_supervisor.observability.rotation import GenerationReader

_BLOCK = 256 * 1024
_FIRST, _LAST = "", "~"  # before and after every time's text


class Record(NamedTuple):
    """One record. `partial`: a piece of a line that goes on in the stream's next record."""

    time: str
    stream: str
    partial: bool
    text: bytes


def parse_record(line: bytes) -> Record | None:
    """Take a record apart (without its newline); None where it is not one."""
    if line[30:HEADER] not in HEADS:
        return None
    time = line[:30].decode("latin-1")
    return Record(time, line[31:37].decode(), line[38:39] == b"P", line[HEADER:])


def read_records(
    directory: Path, *, tail: int | None = None, since: str | None = None, previous: bool = False
) -> Iterator[Record]:
    """Yield what is there now, oldest first. The arguments are `LogCursor`'s."""
    with LogCursor(directory, tail=tail, since=since, previous=previous) as cursor:
        while (records := cursor.read_some()) is not None:
            yield from records


@final
class LogCursor:
    """A place in an instance's log that only moves forward, across rotations.

    `tail`: begin with the last so many lines. `since`: a time as `format_time` writes it; nothing
    older. `previous`: only the run before the present one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tail: int | None = None,
        since: str | None = None,
        previous: bool = False,
    ) -> None:
        """Open the files that are there, and find the beginning."""
        self._low, self._high = since or _FIRST, _LAST
        if previous:
            *_, before, present = [_LAST, _LAST, *read_runs(directory)]
            self._low, self._high = max(self._low, before), present
        # A file that was last written before `since` holds nothing newer.
        self._reader = GenerationReader(
            directory, log_file_name, lambda written: format_time(written) < self._low
        )
        if tail is not None:
            self._begin_at_tail(tail)

    def __enter__(self) -> Self:
        """Own the open files until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def read_some(self) -> list[Record] | None:
        """Give the next records; perhaps none of a block were wanted. None: no more for now."""
        lines = self._reader.read_lines()
        if lines is None:
            return None
        records = map(parse_record, lines)
        return [r for r in records if r is not None and self._low <= r.time < self._high]

    def _begin_at_tail(self, wanted: int) -> None:
        """Move to the beginning of the last `wanted` lines.

        Of a line in many pieces, those are left out that lie before another stream's older line.
        """
        lines = 0
        going_on: set[str] = set()
        files = self._reader.files
        begin = (len(files) - 1, _size(files[-1])) if files else None
        for index in range(len(files) - 1, -1, -1):
            for offset, line in _lines_backwards(files[index]):
                record = parse_record(line)
                if record is None or record.time >= self._high:
                    continue
                if record.time < self._low:
                    break
                if not (record.partial and record.stream in going_on):
                    if lines == wanted:
                        if begin is not None:
                            self._reader.skip_to(*begin)
                        return
                    lines += 1
                    going_on.add(record.stream)
                begin = (index, offset)


def _size(fd: int) -> int:
    return os.fstat(fd).st_size


def _lines_backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """Yield `(offset, line)` of every ended line, last first."""
    start = _size(fd)
    buffer = b""
    while start > 0:
        step = min(_BLOCK, start)
        start -= step
        with suppress(OSError):
            buffer = os.pread(fd, step, start) + buffer
        *_, last = buffer.rpartition(b"\n")
        end = len(buffer) - len(last)
        while end > 0:
            newline = buffer.rfind(b"\n", 0, end - 1)
            if newline < 0 and start > 0:
                break
            yield start + newline + 1, buffer[newline + 1 : end - 1]
            end = newline + 1
        buffer = buffer[:end]
