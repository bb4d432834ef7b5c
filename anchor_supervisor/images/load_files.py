"""The files of an image archive, wherever they are: looked up by name, never written by it.

An archive names files by itself (`blobs/sha256/...`, `<id>/layer.tar`). Such a name is looked up in
a table of what the archive holds, or beneath a directory held open; it reaches nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from typing import Any, BinaryIO, Final, Protocol, final

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.images.model import LARGEST_JSON, hexadecimal
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.observability.terminal import neutral_text
from anchor_supervisor.values import frozen

_BUFFER: Final = 256 << 10
_LONGEST_NAME: Final = 1000  # characters; honest archives stay beneath 200


class Files(Protocol):
    """What an image archive holds."""

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name."""

    def open(self, name: str) -> BinaryIO:
        """Open it for reading. Raises ImageError where it is missing or not a plain file."""


@final
class Slice(io.RawIOBase):
    """A part of a file, read with pread(2): any number of slices share one descriptor."""

    def __init__(self, file: int, start: int, size: int, *, owned: bool = False) -> None:
        """Read `size` bytes from `start` on; `owned`: the descriptor is closed with this."""
        super().__init__()
        self._file, self._start, self._size, self._owned = file, start, size, owned
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - whatever io hands over
        """Read some bytes; fewer than the slice should have are a file that has shrunk."""
        room = memoryview(buffer)[: max(0, self._size - self._position)]
        if not room:
            return 0
        count = os.preadv(self._file, [room], self._start + self._position)
        if not count:
            raise ImageError("the archive is cut short, or became shorter while it was read")
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go anywhere in the slice."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def close(self) -> None:
        """Close the descriptor where it is ours."""
        if self._owned and not self.closed:
            os.close(self._file)
        super().close()


def buffered(part: Slice) -> BinaryIO:
    """Give the slice the manners of a file opened for reading."""
    return io.BufferedReader(part, _BUFFER)


@final
@frozen
class DirectoryFiles:
    """The files beneath a directory that is held open; links are resolved as if it were `/`."""

    directory: int

    def has(self, name: str) -> bool:
        """Say whether there is a plain file of this name."""
        try:
            self.open(name).close()
        except ImageError:
            return False
        return True

    def open(self, name: str) -> BinaryIO:
        """Open a file; not blocking, because a FIFO would wait for a writer for ever."""
        try:
            checked_name(name)
            file = open_beneath(self.directory, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (KernelError, ValueError) as error:
            raise missing(name) from error
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            message = f"the archive's {shown(name)} is not a plain file"
            raise ImageError(message)
        return buffered(Slice(file, 0, status.st_size, owned=True))


def checked_name(name: str) -> str:
    """Return a name that can be looked up. Raises ImageError for what no archive needs."""
    if not name or len(name) > _LONGEST_NAME or "\0" in name or ".." in name.split("/"):
        message = f"the archive refers to {shown(name)}, which is not a name in it"
        raise ImageError(message)
    return name


def shown(name: object) -> str:
    """Show a name from an archive: short, harmless, in back-quotes."""
    return f"`{neutral_text(str(name)[:200])}`"


def missing(name: str) -> ImageError:
    """Build the error for a file that the archive refers to and does not hold."""
    return ImageError(f"the archive has no {shown(name)}", hint="it is incomplete")


def read_small(files: Files, name: str) -> bytes:
    """Read a small file whole. Raises ImageError where it is missing or not small."""
    with files.open(name) as file:
        content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        message = f"the archive's {shown(name)} has more than {LARGEST_JSON} bytes"
        raise ImageError(message)
    return content


def read_verified(files: Files, digest: str) -> bytes:
    """Read a small blob of an OCI layout, which must be what its digest says."""
    name = blob_name(digest)
    content = read_small(files, name)
    if hashlib.sha256(content).hexdigest() != hexadecimal(digest):
        message = f"the archive's {shown(name)} does not have the digest it is named by"
        raise ImageError(message)
    return content


def blob_name(digest: str) -> str:
    """Say where an OCI layout keeps a blob."""
    return f"blobs/sha256/{hexadecimal(digest)}"


def parsed(content: bytes, name: str) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Parse JSON that nobody vouches for."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"the archive's {shown(name)} is not JSON"
        raise ImageError(message) from error


def typed(value: object, kind: type[Any], what: str) -> Any:  # noqa: ANN401 - it is `kind`
    """Return the value if it is of this kind. Raises ImageError with `what` it should have been."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    words = {dict: "an object", list: "a list", str: "a text", int: "a number"}[kind]
    message = f"the archive's {what} is not {words}"
    raise ImageError(message)
