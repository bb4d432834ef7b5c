"""A gzip file written by several processors at once, and the same file by however many.

The data is compressed in blocks that know only the 32 KiB before them, which is as far as deflate
looks back anyhow (RFC 1951, 3.2.5), so each can be done for itself; joined they are one stream.
The header has neither a time nor a name, so that the same data is the same file (RFC 1952, 2.3).
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, final

BLOCK: Final = 1 << 20
_WINDOW: Final = 32 << 10
_LEVEL: Final = 4  # of a Debian root: 2 % more than level 6, in half the time
_MOST_WORKERS: Final = 4
_HEADER: Final = b"\x1f\x8b\x08\x00" + bytes(5) + b"\xff"  # no flags, no time, an unknown system


@final
class GzipWriter:
    """Compresses what is written, and gives it to `sink` in pieces. It must be closed."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        """Begin with the header."""
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        self._sink = sink
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="compress")
        self._most_ahead = workers + 1
        self._ahead: deque[Future[bytes]] = deque()
        self._block = bytearray()
        self._window = b""
        self._crc = 0
        self._size = 0
        sink(_HEADER)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take some more. Raises what `sink` raises."""
        view = memoryview(data)
        while view:
            taken = view[: BLOCK - len(self._block)]
            self._block += taken
            view = view[len(taken) :]
            if len(self._block) == BLOCK:
                self._submit(is_last=False)

    def finish(self) -> None:
        """Compress the rest, and write the end."""
        self._submit(is_last=True)
        while self._ahead:
            self._sink(self._ahead.popleft().result())
        end = (self._crc, self._size & 0xFFFFFFFF)
        self._sink(b"".join(number.to_bytes(4, "little") for number in end))

    def close(self) -> None:
        """Forget what is not written yet."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, *, is_last: bool) -> None:
        block, self._block = bytes(self._block), bytearray()
        self._crc = zlib.crc32(block, self._crc)
        self._size += len(block)
        self._ahead.append(self._pool.submit(_deflated, block, self._window, is_last=is_last))
        self._window = block[-_WINDOW:]
        if len(self._ahead) > self._most_ahead:
            self._sink(self._ahead.popleft().result())


def _deflated(block: bytes, window: bytes, *, is_last: bool) -> bytes:
    """Return the block as deflate data that ends at a byte, where the next can begin."""
    raw = -zlib.MAX_WBITS
    if window:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, raw, zdict=window)
    else:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, raw)
    return deflate.compress(block) + deflate.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)
