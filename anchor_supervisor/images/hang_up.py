"""Connections that end when they are told to, or when one step takes too long.

A thread that reads from a socket cannot be interrupted, but its socket can be shut down from
another thread (shutdown(2) works on the open file, so on a duplicate as well, and beneath TLS).
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import Any, Final, final

_MOST_WAIT: Final = 0.5  # seconds between looks at the deadlines


class Stopped(Exception):  # noqa: N818 - it is what happened
    """Nobody waits for this any more."""


@final
class Line:
    """One TCP connection, by a duplicate of its socket. `due` is when its step must be over."""

    def __init__(self, made: socket.socket, due: float) -> None:
        """Keep a duplicate: wrapping in TLS takes the original's descriptor away."""
        self._socket = made.dup()
        self._lock = threading.Lock()
        self.due: float | None = due
        self.late = False

    def hang_up(self) -> None:
        """End the connection under whoever uses it."""
        with self._lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the duplicate, so that the connection ends when its user closes it."""
        with self._lock:
            self._socket.close()

    def __del__(self) -> None:
        """Go with the connection that it belongs to."""
        self.close()


@final
class Watch:
    """Every connection of one transport, with the deadline of its present step."""

    def __init__(self, patience: float, connecting: float) -> None:
        """Watch nothing yet; the thread begins with the first connection."""
        self.patience = patience
        self.stopped = threading.Event()
        self._connecting = connecting
        self._lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._here = threading.local()
        self._thread: threading.Thread | None = None

    def connected(self, made: socket.socket) -> Line:
        """Take up a connection that has just been made by this thread."""
        line = Line(made, time.monotonic() + self._connecting)
        with self._lock:
            self._lines.add(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="hang-up", daemon=True)
                self._thread.start()
        if self.stopped.is_set():
            line.hang_up()
        self.use(line)
        return line

    def use(self, line: Line | None) -> None:
        """From here on this thread's steps are steps of this connection."""
        self._here.line = line

    def allow(self, seconds: float) -> None:
        """From here on each step of this thread's may take so long."""
        self._here.limit = seconds

    @property
    def limit(self) -> float:
        """Seconds that a step of this thread's may take."""
        return float(getattr(self._here, "limit", self.patience))

    def step(self) -> None:
        """A step of this thread's connection begins."""
        line = self._line()
        if line is not None:
            line.due = time.monotonic() + self.limit

    def rest(self) -> None:
        """Nothing is expected of this thread's connection now."""
        line = self._line()
        if line is not None:
            line.due = None

    def hang_up(self) -> None:
        """End this thread's connection, whatever is still on its way."""
        line = self._line()
        if line is not None:
            line.hang_up()
            line.close()

    def was_late(self) -> bool:
        """Say whether this thread's connection was hung up for being late."""
        line = self._line()
        return line is not None and line.late

    def stop(self) -> None:
        """Hang up every connection, and those to come."""
        self.stopped.set()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.hang_up()

    def close(self) -> None:
        """Forget every connection."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.close()

    def _line(self) -> Line | None:
        return getattr(self._here, "line", None)

    def _watch(self) -> None:
        while not self.stopped.wait(min(self.patience / 4, _MOST_WAIT)):
            now = time.monotonic()
            with self._lock:
                lines = list(self._lines)
            for line in lines:
                due = line.due
                if due is not None and due < now:
                    line.late = True
                    line.hang_up()


def watched(kind: Any, watch: Watch) -> Any:  # noqa: ANN401 - urllib3's two connection classes
    """Make a connection class of urllib3's tell the watch what it does."""

    class Watched(kind):  # type: ignore[misc]
        anchor_watch = watch
        anchor_line: Line | None = None

        def _new_conn(self) -> Any:  # noqa: ANN401
            watch.use(None)
            made = super()._new_conn()
            if self.anchor_line is not None:
                self.anchor_line.close()
            self.anchor_line = watch.connected(made)
            return made

        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(watch.patience)  # or sending would have to be as fast as this

        def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            watch.use(self.anchor_line)
            watch.step()
            super().request(*arguments, **options)

        def getresponse(self) -> Any:  # noqa: ANN401
            watch.step()
            try:
                return super().getresponse()
            finally:
                watch.rest()

    return Watched
