"""A file of records that is kept in a few generations of bounded size.

Generation 0 is the one that is written; a rotation renames 0 to 1, 1 to 2 and so on. A record
(anything that ends with a newline) is never split or half kept. The disk's troubles are counted,
told once, and never raised. Standard library only: readers may live in another process.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import final

_TAIL = 65536
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
_BLOCK = 256 * 1024


@final
class RotatingFile:
    """Appends whole records to `directory / name(0)`. One writer at a time; not for threads.

    `salvage` is asked about a record that a crash has torn (it lacks its newline): True keeps
    what is there and ends it with a newline, False cuts it off. `complain` gets one sentence for
    each outage, not one for each record.
    """

    def __init__(
        self,
        directory: str | Path,
        name: Callable[[int], str],
        *,
        max_bytes: int,
        max_files: int,
        salvage: Callable[[bytes], bool] = lambda torn: False,
        complain: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Remember; nothing is opened before the first append."""
        self._directory = str(directory)
        self._name = name
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._salvage = salvage
        self._complain = complain
        self._fd = -1
        self._size = 0
        self._failing = False

    def append(self, records: bytes) -> bool:
        """Write whole records, in one write(2). False: nothing of them was kept."""
        try:
            if self._fd < 0:
                self._open()
            if self._size and self._size + len(records) > self._max_bytes:
                self._rotate()
            self._write_whole(records)
        except OSError as error:
            self.close()  # the next append opens again, and settles what this one tore
            if not self._failing:
                self._failing = True
                reason = error.strerror or str(error)
                self._complain(f"cannot write `{self._path(0)}`: {reason}")
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """Close; a later append opens again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.close(fd)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        path = f"{self._directory}/{self._name(0)}"
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            Path(self._directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, flags, 0o600)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")  # noqa: TRY301
            size = self._repair(fd, status.st_size)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._size = fd, size

    def _repair(self, fd: int, size: int) -> int:
        """Settle a torn last record, and return the file's size then."""
        torn = _last_record_without_end(fd, size)
        if not torn:
            return size
        if self._salvage(torn):
            return size + os.write(fd, b"\n")
        os.ftruncate(fd, size - len(torn))
        return size - len(torn)

    def _write_whole(self, records: bytes) -> None:
        written = os.write(self._fd, records)
        try:
            # A nearly full disk shortens a write; only the next call says why.
            while written < len(records):
                written += os.write(self._fd, memoryview(records)[written:])
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def _rotate(self) -> None:
        """Shift the generations up, oldest first, so that a crash half-way loses none."""
        kept = self._max_files - 1
        free = next((n for n in range(1, kept) if not self._path(n).exists()), kept)
        for generation in range(free, 0, -1):
            with suppress(FileNotFoundError):  # somebody has removed it
                self._path(generation - 1).replace(self._path(generation))
        if kept == 0:
            self._path(0).unlink(missing_ok=True)
        self.close()
        self._open()

    def _path(self, generation: int) -> Path:
        return Path(self._directory, self._name(generation))


def _last_record_without_end(fd: int, size: int) -> bytes:
    torn = b""
    end = size
    while end > 0:
        start = max(0, end - _TAIL)
        block = os.pread(fd, end - start, start)
        newline = block.rfind(b"\n")
        torn = block[newline + 1 :] + torn
        if newline >= 0:
            break
        end = start
    return torn


def open_generations(directory: Path, name: Callable[[int], str], limit: int = 100) -> list[int]:
    """Open what there is, read-only; return the descriptors oldest first. The caller closes them.

    Raises OSError, and then none is open. Opening goes from the newest up: a file only ever moves
    to the next higher generation, so one that is renamed meanwhile is met again (and told by its
    inode), never missed.
    """
    opened: list[int] = []
    seen: set[int] = set()
    gap = 0
    with ExitStack() as owned:
        for generation in range(limit):
            path = directory / name(generation)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                gap += 1
                if gap > 2:  # a crash in a rotation leaves one gap, one that is under way another
                    break
                continue
            inode = os.fstat(fd).st_ino
            if inode in seen:
                os.close(fd)
            else:
                seen.add(inode)
                opened.append(fd)
                owned.callback(os.close, fd)
        owned.pop_all()
    return opened[::-1]


@final
class GenerationReader:
    """A place in a rotated file that only moves forward, from the oldest generation on.

    `too_old` is asked about an older generation: the wall nanosecond of its last record. The
    descriptors in `files` (oldest first) are closed by `close`.
    """

    def __init__(
        self,
        directory: Path,
        name: Callable[[int], str],
        too_old: Callable[[int], bool] = lambda written: False,
    ) -> None:
        """Open the files that are there, and begin at the oldest."""
        self._directory = directory
        self._name = name
        self._too_old = too_old
        self.files: list[int] = []
        self._offset = 0
        self._rest = b""
        self._open_newer()

    def close(self) -> None:
        """Close the files."""
        for fd in self.files:
            os.close(fd)
        self.files.clear()

    def read_lines(self) -> list[bytes] | None:
        """Give the whole records of the next block, perhaps none. None: no more for now."""
        if not self.files:
            self._open_newer()
        while self.files:
            data = os.pread(self.files[0], _BLOCK, self._offset)
            if data:
                self._offset += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                return lines
            if len(self.files) == 1 and not self._open_newer():
                return None
            if not os.pread(self.files[0], 1, self._offset):  # written before the rotation?
                os.close(self.files.pop(0))
                self._offset, self._rest = 0, b""
        return None

    def skip_to(self, index: int, offset: int) -> None:
        """Go on at `offset` of `files[index]`."""
        self._offset = offset
        for fd in self.files[:index]:
            os.close(fd)
        del self.files[:index]

    def skip_to_end(self) -> None:
        """Go on with what is written from now on."""
        if self.files:
            self.skip_to(len(self.files) - 1, os.fstat(self.files[-1]).st_size)

    def _open_newer(self) -> bool:
        """Open the generations that are newer than those we hold. False: there are none."""
        try:
            fds = open_generations(self._directory, self._name)
        except NotADirectoryError:
            return False
        except OSError as error:
            if self.files and error.errno in _NO_DESCRIPTOR:
                return False  # for now: who follows looks again
            raise
        newer = fds
        if self.files:
            ours = os.fstat(self.files[-1]).st_ino
            inodes = [os.fstat(fd).st_ino for fd in fds]
            if ours in inodes:
                newer = fds[inodes.index(ours) + 1 :]
        for fd in set(fds) - set(newer):
            os.close(fd)
        for fd in newer:
            if fd != newer[-1] and self._too_old(os.fstat(fd).st_mtime_ns):
                os.close(fd)
            else:
                self.files.append(fd)
        return bool(newer)
