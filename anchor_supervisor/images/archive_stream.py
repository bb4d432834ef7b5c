"""The bytes of a tar archive, decompressed forward only and under limits.

An archive is hostile until it ends: a kilobyte can unpack to a petabyte, and one header can claim
to be the whole of it. So every byte is counted, a header may take only so many, and no decoder
gets more memory than an honest archive needs.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import BinaryIO, Final, Protocol, final

from anchor_supervisor.errors import ImageError

_CHUNK: Final = 256 << 10  # bytes read from the file, and bytes decompressed, at a time
_XZ_MEMORY: Final = 256 << 20  # `xz -9` needs 65 MiB to unpack (xz(1))
_GZIP: Final = 16 + zlib.MAX_WBITS  # a gzip header is expected (zlib.h, inflateInit2)
HEADER_BUDGET: Final = 1 << 20  # bytes of headers before one entry's data

_MAGIC: Final = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


class _Decoder(Protocol):
    """What zlib, bz2 and lzma have in common, once zlib's leftovers are kept."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


@final
class _Gzip:
    """zlib's decompressor with the manners of the other two: it keeps what it did not take."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=_GZIP)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._zlib.eof

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        output = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # A full answer may hide more, even where all input was taken.
        self._full = len(output) == max_length
        return output


def _decoder(compression: str) -> _Decoder:
    if compression == "gzip":
        return _Gzip()
    if compression == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


@final
class ArchiveStream:
    """A forward-only file object over an archive: what tarfile.TarFile needs of one, and no more.

    `most` is the number of decompressed bytes after which the archive counts as a bomb. `last` is
    what the latest read gave.
    """

    def __init__(self, file: BinaryIO, *, most: int) -> None:
        """Look at the first bytes to learn the compression; none, gzip, bzip2 and xz are known."""
        start = file.read(_CHUNK)
        if start.startswith(_ZSTANDARD):
            raise ImageError(
                "archives compressed with zstd are not supported yet",
                hint="unpack it with `zstd -d`, and name the plain tar",
            )
        known = (name for magic, name in _MAGIC if start.startswith(magic))
        self._compression = next(known, None)
        self._decoder = None if self._compression is None else _decoder(self._compression)
        self._file = file
        self._input = start
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
        while missing and (piece := self._next_piece()):
            parts.append(piece[:missing])
            if len(piece) > missing:
                self._buffer, self._start = piece, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    def drain(self) -> None:
        """Read what follows the archive's end, so that a checksum there has been looked at."""
        self._budget = None
        while self.read(_CHUNK):
            pass

    def _next_piece(self) -> bytes:
        """Return some more decompressed bytes; b'' at the end of a complete file."""
        if self._decoder is None:
            piece, self._input = self._input or self._file.read(_CHUNK), b""
            return piece
        while True:
            if self._decoder.eof:
                if not self._next_member():
                    return b""
                continue
            if self._decoder.needs_input and not self._input:
                self._input = self._file.read(_CHUNK)
                if not self._input:
                    message = f"the archive is cut short: its {self._compression} data ends early"
                    raise ImageError(message)
            taken, self._input = self._input, b""
            try:
                piece = self._decoder.decompress(taken, _CHUNK)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                message = f"the archive's {self._compression} data is damaged: {error}"
                raise ImageError(message) from error
            if piece:
                return piece

    def _next_member(self) -> bool:
        """Go on with a further member or stream; zero padding ends the file."""
        assert self._decoder is not None
        assert self._compression is not None
        rest = (self._decoder.unused_data + self._input).lstrip(b"\0")
        while not rest:
            piece = self._file.read(_CHUNK)
            if not piece:
                return False
            rest = piece.lstrip(b"\0")
        self._decoder = _decoder(self._compression)
        self._input = rest
        return True
