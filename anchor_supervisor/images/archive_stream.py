"""The bytes of a tar archive, decompressed forward only and under limits.

An archive is hostile until it ends: a kilobyte can unpack to a petabyte, and one header can claim
to be the whole of it. So every byte is counted, and a header may take only so many.
"""

from __future__ import annotations

from typing import BinaryIO, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.decompress import decompressed
from anchor_supervisor.images.read_ahead import ReadAhead

_CHUNK: Final = 256 << 10
HEADER_BUDGET: Final = 1 << 20  # bytes of headers before one entry's data


@final
class ArchiveStream:
    """A forward-only file object over an archive: what tarfile.TarFile needs of one, and no more.

    `most` is the number of decompressed bytes after which the archive counts as a bomb. `last` is
    what the latest read gave. It must be closed, which leaves the file open.
    """

    def __init__(self, file: BinaryIO, *, most: int) -> None:
        """Begin to decompress, whatever it turns out to be compressed with."""
        self._pieces = ReadAhead(decompressed(file))
        self._buffer = b""
        self._start = 0
        self._position = 0
        self._most = most
        self._budget: int | None = None
        self.last = b""

    def begin_header(self) -> None:
        """From here on reads are a header's: they may take HEADER_BUDGET bytes together."""
        self._budget = HEADER_BUDGET

    def begin_data(self) -> None:
        """From here on reads are file content, in pieces of the caller's choosing."""
        self._budget = None

    def tell(self) -> int:
        """Say the number of bytes handed out or skipped so far."""
        return self._position

    def seek(self, position: int) -> int:
        """Skip forward; going back is a malformed archive's wish."""
        if position < self._position:
            raise ImageError("the archive is malformed: an entry leads backwards")
        budget, self._budget = self._budget, None
        while self._position < position:
            if not self.read(min(_CHUNK, position - self._position)):
                break
        self._budget = budget
        return self._position

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end. Raises ImageError past a limit."""
        if self._budget is not None:
            if size > self._budget:
                message = f"the archive has a header of more than {HEADER_BUDGET} bytes"
                raise ImageError(message)
            self._budget -= size
        result = self._buffer[self._start : self._start + size]
        self._start += len(result)
        if len(result) < size:
            result = self._gather(result, size)
        self.last = result
        self._position += len(result)
        if self._position > self._most:
            message = f"the archive unpacks to more than {self._most} bytes"
            raise ImageError(message)
        return result

    def _gather(self, first: bytes, size: int) -> bytes:
        """Join pieces until there are `size` bytes; what is left of the last one is kept."""
        parts, missing = [first], size - len(first)
        self._buffer, self._start = b"", 0
        while missing and (piece := self._pieces.next()):
            parts.append(piece[:missing])
            if len(piece) > missing:
                self._buffer, self._start = piece, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    def drain(self) -> str:
        """Read what follows the archive's end; return the digest of all of it, `sha256:...`.

        A checksum at the end of a compressed file has been looked at by then.
        """
        self._budget = None
        while self.read(_CHUNK):
            pass
        return self._pieces.digest

    def close(self) -> None:
        """Read no more."""
        self._pieces.close()
