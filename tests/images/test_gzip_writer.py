"""gzip written in parallel: one stream that everybody reads, always the same."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import zlib

import pytest

from anchor_supervisor.images.gzip_writer import BLOCK, GzipWriter


def compressed(data: bytes, *sizes: int) -> bytes:
    """Write `data` in pieces of these sizes, and then the rest."""
    parts: list[bytes] = []
    writer = GzipWriter(parts.append)
    try:
        for size in sizes:
            writer.write(data[:size])
            data = data[size:]
        writer.write(data)
        writer.finish()
    finally:
        writer.close()
    return b"".join(parts)


def sample(size: int) -> bytes:
    """Data that compresses, but not to nothing."""
    words = [os.urandom(9) for _ in range(200)]
    return b"".join(random.choices(words, k=size // 9 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77])
def test_it_is_one_gzip_stream(size: int) -> None:
    """Python and gzip(1) read back what was written; there is a single member."""
    data = sample(size)
    result = compressed(data)
    assert gzip.decompress(result) == data
    one = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert one.decompress(result) == data
    assert one.eof
    assert one.unused_data == b""
    done = subprocess.run(["gzip", "-dc"], input=result, capture_output=True, check=True)
    assert done.stdout == data


def test_how_it_was_written_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the writes and the number of processors change nothing, nor does the time."""
    data = sample(3 * BLOCK)
    whole = compressed(data)
    assert compressed(data, 1, 100, BLOCK, 0, 3) == whole
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert compressed(data) == whole
    assert whole[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_blocks_know_what_was_before_them() -> None:
    """Data that repeats across blocks costs next to nothing again."""
    piece = os.urandom(16 << 10)
    assert len(compressed(piece * (4 * BLOCK // len(piece)))) < 3 * len(piece)


def test_a_sink_that_fails_is_heard() -> None:
    """What the sink raises reaches whoever writes."""

    def full(data: bytes) -> None:
        if len(data) > 10:
            raise OSError(28, "No space left on device")

    writer = GzipWriter(full)
    try:
        with pytest.raises(OSError, match="No space"):
            writer.write(bytes(20 * BLOCK))
    finally:
        writer.close()
