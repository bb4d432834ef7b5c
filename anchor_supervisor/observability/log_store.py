"""The output of one instance on disk: the CRI text format, rotated, kept for ever bounded.

A record is ``2026-01-02T03:04:05.123456789Z stdout F text``: F ends a line, P is a piece of one
that goes on (Kubernetes' CRI log format; read by fluent-bit, promtail and vector). A piece is
written as soon as it is read, so that a crash loses nothing that left the container, and it is
at most 16 KiB. The text is the container's own bytes, whatever they are.

The current file is `0.log`, older ones `1.log` and so on. Beside them `runs` holds the start time
of the last runs, a line each. Standard library only, no clock: time is an argument.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from anchor_supervisor.observability.rotation import RotatingFile

MAX_BYTES = 10 * 1024 * 1024
MAX_FILES = 5
MAX_PIECE = 16 * 1024
HEADER = len("2026-01-02T03:04:05.123456789Z stdout F ")
STREAMS = ("stdout", "stderr")
HEADS = frozenset(f" {stream} {tag} ".encode() for stream in STREAMS for tag in "FP")
RUNS_FILE = "runs"
_RUNS_KEPT = 100
_RUN_LENGTH = 31  # a time as `format_time` writes it, and a newline
_SECOND = 1_000_000_000


def log_file_name(generation: int) -> str:
    """`0.log` is being written; higher numbers are older."""
    return f"{generation}.log"


def format_time(wall_time_ns: int) -> str:
    """RFC 3339 in UTC with nine digits, always 30 characters: such texts sort as times do."""
    seconds, nanoseconds = divmod(wall_time_ns, _SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


@final
class LogWriter:
    """Stores what one instance says. Nothing here raises because of the disk.

    Bytes that could not be stored are counted in `dropped_bytes`, told once for each outage
    through `complain`, and told in the log itself as soon as it can be written again.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
        complain: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Remember; the directory is made by the first write."""
        self.dropped_bytes = 0
        self._directory = str(directory)
        self._gap = 0
        self._unfinished = dict.fromkeys(STREAMS, False)
        self._recovered = False
        self._noted = 0
        self._second = (-1, "")
        self._file = RotatingFile(
            directory,
            log_file_name,
            max_bytes=max_bytes,
            max_files=max_files,
            salvage=_worth_keeping,
            complain=complain,
        )

    def write(self, stream: str, data: bytes, wall_time_ns: int) -> None:
        """Store a chunk as it was read: any bytes, any number of lines, broken anywhere."""
        if not data:
            return
        stamp = self._stamp(wall_time_ns)
        records = encode_records(stamp, stream, data)
        if self._gap:
            begin = "\n" if self._unfinished["stderr"] else ""
            lost = f"{begin}anchor: {self._gap} bytes of output were lost here\n"
            records = encode_records(stamp, "stderr", lost.encode()) + records
            self._unfinished["stderr"] = False
        if self._file.append(records):
            self._gap = 0
            self._unfinished[stream] = not data.endswith(b"\n")
        else:
            self._gap += len(data)
            self.dropped_bytes += len(data)

    def note_run(self, wall_time_ns: int) -> None:
        """Note when a run began, for `--previous`; the last one was ended before that."""
        with suppress(OSError):
            file = self._open_runs()
            try:
                os.write(file, f"{self._stamp(wall_time_ns)}\n".encode())
                looks = self._noted % _RUNS_KEPT == 0  # it does not grow faster than that
                full = looks and os.fstat(file).st_size > 2 * _RUNS_KEPT * _RUN_LENGTH
            finally:
                os.close(file)
            self._noted += 1
            if full:
                self._forget_old_runs()

    def _open_runs(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        path = f"{self._directory}/{RUNS_FILE}"
        if self._noted == 0:
            self._make_directory()  # it is not there, as a rule
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            self._make_directory()
            return os.open(path, flags, 0o666)

    def _make_directory(self) -> None:
        try:
            os.mkdir(self._directory, 0o700)  # noqa: PTH102 - a third of the time of a Path's
        except FileExistsError:
            return
        except FileNotFoundError:
            Path(self._directory).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _forget_old_runs(self) -> None:
        """Keep the last runs: written aside and renamed, so that a reader finds either list."""
        directory = Path(self._directory)
        fresh = directory / f"{RUNS_FILE}.new"
        kept = read_runs(directory)[-_RUNS_KEPT:]
        fresh.write_text("".join(f"{start}\n" for start in kept))
        fresh.replace(directory / RUNS_FILE)

    def end_run(self, wall_time_ns: int) -> None:
        """End the lines that the container left without a newline: no later text joins them."""
        if not self._recovered:
            self._recovered = True
            for stream, unfinished in _unfinished_streams(self._directory).items():
                self._unfinished[stream] = self._unfinished[stream] or unfinished
        for stream, unfinished in self._unfinished.items():
            if unfinished:
                self._file.append(f"{self._stamp(wall_time_ns)} {stream} F \n".encode())
                self._unfinished[stream] = False

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        self._file.close()

    def _stamp(self, wall_time_ns: int) -> str:
        seconds, nanoseconds = divmod(wall_time_ns, _SECOND)
        if seconds != self._second[0]:
            self._second = (seconds, format_time(seconds * _SECOND)[:20])
        return f"{self._second[1]}{nanoseconds:09d}Z"


def encode_records(stamp: str, stream: str, data: bytes) -> bytes:
    """Give the records of one chunk, which share one time. No Python runs per line as a rule."""
    whole = f"{stamp} {stream} F ".encode()
    piece = f"{stamp} {stream} P ".encode()
    lines, newline, rest = data.rpartition(b"\n")
    if len(data) > MAX_PIECE and max(map(len, data.split(b"\n"))) > MAX_PIECE:
        return _encode_long(whole, piece, data)
    records = whole + lines.replace(b"\n", b"\n" + whole) + b"\n" if newline else b""
    return records + piece + rest + b"\n" if rest else records


def _encode_long(whole: bytes, piece: bytes, data: bytes) -> bytes:
    records: list[bytes] = []
    *ended, rest = data.split(b"\n")
    for line in ended:
        *pieces, last = _pieces(line)
        for text in pieces:
            records += (piece, text, b"\n")
        records += (whole, last, b"\n")
    for text in _pieces(rest) if rest else ():
        records += (piece, text, b"\n")
    return b"".join(records)


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_PIECE] for at in range(0, len(line), MAX_PIECE)] or [b""]


def _worth_keeping(torn: bytes) -> bool:
    """Say whether a torn record has a whole head, and so some text to keep."""
    return len(torn) >= HEADER and torn[30:HEADER] in HEADS


def _unfinished_streams(directory: str) -> dict[str, bool]:
    """Which streams ended in a piece, by the last records of a former supervisor."""
    found: dict[str, bool] = {}
    try:
        opened = os.open(f"{directory}/{log_file_name(0)}", os.O_RDONLY | os.O_CLOEXEC)
        with open(opened, "rb") as file:  # noqa: PTH123 - a descriptor
            size = file.seek(0, 2)
            file.seek(max(0, size - 4 * MAX_PIECE))
            tail = file.read()
    except OSError:
        return found
    for record in reversed(tail.split(b"\n")):
        if _worth_keeping(record):
            found.setdefault(record[31:37].decode(), record[38:39] == b"P")
        if len(found) == len(STREAMS):
            break
    return found


def read_runs(directory: Path) -> list[str]:
    """Give the start times of the last runs, oldest first, as `format_time` writes them."""
    try:
        return (directory / RUNS_FILE).read_text().split()
    except (OSError, UnicodeDecodeError):
        return []
