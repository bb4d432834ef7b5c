"""A compressed file as pieces of what it unpacks to: gzip, bzip2, xz, zstd, or nothing at all.

Several members, streams or frames follow each other in one file as if they were one; zstd's
skippable frames are skipped (RFC 8878, 3.1.2). No decoder gets more memory than an honest file
needs, and no piece is larger than PIECE.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final, Protocol, final

from anchor_supervisor.errors import ImageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE: Final = 256 << 10  # the most bytes that are decompressed at a time
_INPUT: Final = 64 << 10  # bytes of the file at a time: a decoder copies what it leaves
_XZ_MEMORY: Final = 256 << 20  # `xz -9` needs 65 MiB to unpack (xz(1))
_ZSTD_WINDOW: Final = 27  # 128 MiB, which `zstd -d` and `zstd --ultra -22` stay within (zstd(1))
_GZIP: Final = 16 + zlib.MAX_WBITS  # a gzip header is expected (zlib.h, inflateInit2)

_SKIPPABLE: Final = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (_SKIPPABLE, "zstd"),
)
_DAMAGE: Final = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)


class _Decoder(Protocol):
    """What the four have in common, once zlib's leftovers are kept."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


@final
class _Gzip:
    """zlib's decompressor with the manners of the others: it keeps what it did not take."""

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


def compression_of(start: bytes) -> str | None:
    """Name what a file that starts like this is compressed with; None where it is not."""
    return next((name for magic, name in _MAGIC if start.startswith(magic)), None)


def decompressed(file: BinaryIO) -> Iterator[bytes]:
    """Yield the pieces, none of them empty. Raises ImageError for damage and for an early end."""
    start = file.read(_INPUT)
    compression = compression_of(start)
    if compression is None:
        while start:
            yield start
            start = file.read(PIECE)
        return
    rest = start
    while rest:
        rest = yield from _member(file, rest, compression)


def _decoder(compression: str) -> _Decoder:
    if compression == "gzip":
        return _Gzip()
    if compression == "bzip2":
        return bz2.BZ2Decompressor()
    if compression == "xz":
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    limit = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW}
    return zstd.ZstdDecompressor(options=limit)


def _member(file: BinaryIO, taken: bytes, compression: str) -> Generator[bytes, None, bytes]:
    """Yield one member's pieces; return what follows it, b"" at the end of the file."""
    decoder = _decoder(compression)
    while not decoder.eof:
        if decoder.needs_input and not taken:
            taken = file.read(_INPUT)
            if not taken:
                message = f"the archive is cut short: its {compression} data ends early"
                raise ImageError(message)
        try:
            piece = decoder.decompress(taken, PIECE)
        except _DAMAGE as error:
            message = f"the archive's {compression} data is damaged: {error}"
            raise ImageError(message) from error
        taken = b""
        if piece:
            yield piece
    return _without_padding(file, decoder.unused_data + taken)


def _without_padding(file: BinaryIO, rest: bytes) -> bytes:
    """Skip zeros, which tapes and some tools pad with."""
    rest = rest.lstrip(b"\0")
    while not rest:
        piece = file.read(_INPUT)
        if not piece:
            break
        rest = piece.lstrip(b"\0")
    return rest
