"""Compressed files: every format comes out exactly, and none gets more memory than it needs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import zlib
from collections.abc import Callable

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.decompress import PIECE, compression_of, decompressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
CONTENT = os.urandom(5000) + bytes(700_000) + os.urandom(5000)
SKIPPABLE = struct.pack("<2I", 0x184D2A5A, 5) + b"extra"

every = pytest.mark.parametrize("name", COMPRESSIONS)


def all_of(data: bytes) -> bytes:
    return b"".join(decompressed(io.BytesIO(data)))


@every
def test_members_that_follow_each_other_are_one(name: str) -> None:
    """Joined members, streams or frames, with padding behind them, are as one."""
    compress = COMPRESSIONS[name]
    data = compress(CONTENT[:9000]) + compress(b"") + compress(CONTENT[9000:]) + bytes(700)
    assert compression_of(data) == name
    assert all_of(data) == CONTENT


def test_what_is_not_compressed_passes() -> None:
    """Bytes that are no known format are themselves; nothing at all is nothing."""
    assert all_of(CONTENT) == CONTENT
    assert all_of(b"") == b""


@every
def test_pieces_are_bounded(name: str) -> None:
    """However well it was compressed, no more than a piece is in memory at a time."""
    data = COMPRESSIONS[name](bytes(20 << 20))
    assert max(map(len, decompressed(io.BytesIO(data)))) <= PIECE


@every
def test_an_early_end_is_said(name: str) -> None:
    """Compressed data that stops before its own end is cut short, wherever that is."""
    data = COMPRESSIONS[name](CONTENT)
    for cut in (7, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageError, match="cut short"):
            all_of(data[:cut])


@every
def test_garbage_after_a_member_is_damage(name: str) -> None:
    """What follows must be another member."""
    with pytest.raises(ImageError, match=f"{name} data is damaged"):
        all_of(COMPRESSIONS[name](CONTENT) + b"garbage, and enough of it to be read as a header")


def test_frames_to_be_skipped_are_skipped() -> None:
    """Skippable frames, such as a table of contents, can stand anywhere and begin a file."""
    half = zstd.compress(CONTENT[:9000]), zstd.compress(CONTENT[9000:])
    data = SKIPPABLE + half[0] + SKIPPABLE + SKIPPABLE + half[1] + SKIPPABLE
    assert compression_of(data) == "zstd"
    assert all_of(data) == CONTENT


def test_a_zstd_window_that_wants_all_memory_is_refused() -> None:
    """A frame may ask for gigabytes of memory; 128 MiB is what it gets."""

    def frame(log: int) -> bytes:
        compressor = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): log})
        return compressor.compress(b"x") + compressor.flush()

    assert all_of(frame(27)) == b"x"
    with pytest.raises(ImageError, match="memory"):
        all_of(frame(28))


def test_an_xz_dictionary_that_wants_all_memory_is_refused() -> None:
    """A header may ask for 1.5 GiB of memory; the decoder says no."""
    block = bytearray(lzma.compress(b"x", preset=0))
    # The .xz file format, 3.1: size, flags, filter id, size of its properties, dictionary.
    size = (block[12] + 1) * 4
    assert block[14] == 0x21
    block[16] = 37  # 1.5 GiB
    checksum = zlib.crc32(block[12 : 12 + size - 4])
    block[12 + size - 4 : 12 + size] = checksum.to_bytes(4, "little")
    with pytest.raises(ImageError, match="emory"):
        all_of(bytes(block))
