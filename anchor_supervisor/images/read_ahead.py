"""Pieces of bytes made and digested in a thread of their own, a bounded number of them ahead.

zlib and hashlib let other threads run while they work (Global Interpreter Lock), so that an
archive is decompressed on one processor while its files are made on another.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final, final

_AHEAD: Final = 16  # pieces


@final
class ReadAhead:
    """An iterator over `pieces`, which are produced elsewhere. It must be closed.

    What the producer raises, its consumer gets. `digest` is complete once the last piece is out.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Begin at once."""
        self._pieces = pieces
        self._ready: deque[bytes] = deque()
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._is_done = False
        self._is_closed = False
        self._sha256 = hashlib.sha256()
        self._thread = threading.Thread(target=self._produce, name="decompress", daemon=True)
        self._thread.start()

    def next(self) -> bytes:
        """Return the next piece; b"" when there is none. Raises what producing it raised."""
        with self._change:
            while not self._ready and not self._is_done:
                self._change.wait()
            if self._ready:
                self._change.notify()
                return self._ready.popleft()
        if self._error is not None:
            raise self._error
        return b""

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of every piece, when all have been given out."""
        assert self._is_done
        assert self._error is None
        return f"sha256:{self._sha256.hexdigest()}"

    def close(self) -> None:
        """Stop producing, and wait until the last piece under way is done with the file."""
        with self._change:
            self._is_closed = True
            self._ready.clear()
            self._change.notify()
        self._thread.join()

    def _produce(self) -> None:
        try:
            for piece in self._pieces:
                self._sha256.update(piece)
                if not self._put(piece):
                    break
        except BaseException as error:  # it is the consumer's to handle
            self._error = error
        with self._change:
            self._is_done = True
            self._change.notify()

    def _put(self, piece: bytes) -> bool:
        """Wait for room; False when nobody wants more."""
        with self._change:
            while len(self._ready) >= _AHEAD and not self._is_closed:
                self._change.wait()
            if self._is_closed:
                return False
            self._ready.append(piece)
            self._change.notify()
            return True
