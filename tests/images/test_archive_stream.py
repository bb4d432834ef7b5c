"""The archive's bytes: decompressed exactly, bounded, and honest about an early end."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import lzma
import os
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.archive_stream import HEADER_BUDGET, ArchiveStream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
CONTENT = os.urandom(5000) + bytes(700_000) + os.urandom(5000)

compressed = pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=list(COMPRESSIONS))


@functools.cache
def joined(compress: Callable[[bytes], bytes]) -> bytes:
    return compress(CONTENT[:9000]) + compress(CONTENT[9000:])


opened: list[ArchiveStream] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def stream(data: bytes, most: int = 1 << 30) -> ArchiveStream:
    opened.append(ArchiveStream(io.BytesIO(data), most=most))
    return opened[-1]


@compressed
@settings(max_examples=30)
@given(sizes=st.lists(st.integers(0, 400_000), max_size=8))
def test_bytes_come_out_as_they_went_in(
    compress: Callable[[bytes], bytes], sizes: list[int]
) -> None:
    """However it is read, and over several joined members, nothing is lost or doubled."""
    archive = stream(joined(compress))
    pieces = [archive.read(size) for size in sizes]
    at = sum(map(len, pieces))
    assert archive.tell() == at
    pieces.append(archive.read(1 << 20))
    assert b"".join(pieces) == CONTENT
    assert archive.read(1) == b""


@compressed
def test_skipping_is_reading_without_the_bytes(compress: Callable[[bytes], bytes]) -> None:
    """A seek forward lands exactly; one backward is refused."""
    archive = stream(compress(CONTENT))
    archive.seek(4990)
    assert archive.read(20) == CONTENT[4990:5010]
    with pytest.raises(ImageError, match="backwards"):
        archive.seek(0)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])  # zstd(1) adds a checksum, its API none
def test_a_flipped_bit_is_damage(name: str) -> None:
    """The checksum at the end is looked at."""
    data = bytearray(COMPRESSIONS[name](CONTENT))
    data[2000] ^= 1
    with pytest.raises(ImageError, match=r"damaged|cut short"):
        stream(bytes(data)).drain()


def test_zeros_after_the_last_member_are_padding() -> None:
    """Tapes and some tools pad with zeros."""
    archive = stream(gzip.compress(b"x") + bytes(1000))
    archive.drain()
    assert archive.tell() == 1


def test_a_header_has_a_budget_and_data_has_none() -> None:
    """Only what is read as a header counts against its bound; each header starts afresh."""
    archive = stream(bytes(4 * HEADER_BUDGET))
    archive.begin_header()
    archive.read(HEADER_BUDGET)
    archive.begin_data()
    archive.read(HEADER_BUDGET + 1)
    archive.begin_header()
    archive.read(10)
    with pytest.raises(ImageError, match="header"):
        archive.read(HEADER_BUDGET)


def test_the_whole_has_a_bound() -> None:
    """A bomb stops at the first byte too many, skipped bytes included."""
    bomb = gzip.compress(bytes(10 << 20))
    archive = stream(bomb, most=1 << 20)
    archive.seek(1 << 20)
    with pytest.raises(ImageError, match="more than 1048576 bytes"):
        archive.read(1)


@compressed
def test_the_digest_is_of_all_that_was_unpacked(compress: Callable[[bytes], bytes]) -> None:
    """To the last byte, however much of it anybody has read."""
    archive = stream(compress(CONTENT))
    archive.read(5)
    assert archive.drain() == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
