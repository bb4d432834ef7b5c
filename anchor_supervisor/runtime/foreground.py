"""What a person sees of a fleet in the foreground: containers' output and our own lines, in order.

One thread does all the writing, so a terminal that is stopped (Ctrl-S) or slow stops nobody but
itself; what does not fit into its queue meanwhile is counted and said. The log files have it all.
A file takes everything at once, so it needs no thread: what a detached fleet says is written there.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.values import define, field

if TYPE_CHECKING:
    import queue

QUEUE: Final = 4096


@final
@define(eq=False)
class Screen:
    """Writes chunks to a descriptor, from a thread of its own. `put` never waits for a reader."""

    descriptor: int
    _queue: queue.Queue[bytes | None] = field(init=False)
    _dropped: int = field(default=0, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _is_file: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Look what kind of thing it is."""
        try:
            self._is_file = stat.S_ISREG(os.fstat(self.descriptor).st_mode)
        except OSError:  # it is closed: nobody will see anything
            self._is_file = False

    def put(self, data: bytes) -> None:
        """Queue a chunk of whole lines; dropped (and counted) when the queue is full."""
        if self._is_file:
            self._write_whole(data)
            return
        import queue  # what is written to a file, or never, is put into none

        if self._thread is None:
            self._queue = queue.Queue(QUEUE)
            self._thread = threading.Thread(target=self._write, name="screen", daemon=True)
            self._thread.start()
        try:
            if self._dropped:
                self._queue.put_nowait(f"... {self._dropped} chunks not shown\n".encode())
                self._dropped = 0
            self._queue.put_nowait(data)
        except queue.Full:
            self._dropped += 1

    def write(self, text: str) -> int:
        """Queue text: what lets a log write here as to a file."""
        self.put(text.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as fast as it can."""

    def close(self, patience: float = 1.0) -> None:
        """Write what is queued, waiting at most `patience` seconds for a stopped terminal."""
        if self._thread is not None:
            import queue

            try:
                self._queue.put(None, timeout=patience)
            except queue.Full:
                return
            self._thread.join(patience)

    def _write(self) -> None:
        while (data := self._queue.get()) is not None:
            if not self._write_whole(data):
                return  # the reader has gone: nobody is left to tell

    def _write_whole(self, data: bytes) -> bool:
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError:
            return False
        return True

    def _write_some(self, data: bytes) -> int:
        """Write what fits; whoever shares a terminal with us may have made it non-blocking."""
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            select.select([], [self.descriptor], [])
            return 0
