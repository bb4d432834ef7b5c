"""Pressure stall information of control groups: how long their tasks waited, and triggers for it.

A trigger is a file that becomes ready by EPOLLPRI when the tasks of a group have waited for too
long within a window (psi.rst), and at most once a window. An idle group costs nothing.

Readiness is given once, to whoever polls first: an epoll inside another one would take it and have
nothing to tell. So `wait` is for a thread, which asks the kernel itself.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Hashable
from typing import Final, Generic, TypeVar, final

from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.values import frozen

WINDOW: Final = 2_000_000
"""Microseconds. Without CAP_SYS_RESOURCE only multiples of two seconds will do (Linux 6.5)."""

Key = TypeVar("Key", bound=Hashable)


@final
@frozen
class Stall:
    """Time that some tasks, or all at once (`full`), have waited.

    Averages are percent of the last ten seconds, totals microseconds since the group was made.
    """

    some_avg10: float = 0.0
    some_total: int = 0
    full_avg10: float = 0.0
    full_total: int = 0


def read_stall(group: Cgroup, file: str) -> Stall | None:
    """Read `memory.pressure` or another of that kind; None where the kernel does not keep it."""
    try:
        text = group.read(file)
    except OSError:  # EOPNOTSUPP: switched off
        return None
    figures: dict[str, float] = {}
    for line in (text or "").splitlines():
        kind, *pairs = line.split()
        for name, _, value in (pair.partition("=") for pair in pairs):
            figures[f"{kind}_{name}"] = float(value)
    if "some_total" not in figures:
        return None
    return Stall(
        figures.get("some_avg10", 0.0),
        int(figures["some_total"]),
        figures.get("full_avg10", 0.0),
        int(figures.get("full_total", 0)),
    )


@final
class StallTriggers(Generic[Key]):
    """Any number of triggers, each known by a key. Everything but `wait` never blocks."""

    def __init__(self) -> None:
        """Open two descriptors. Raises OSError."""
        self._lock = threading.Lock()
        self._files: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._epoll = select.epoll()
        self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._end, select.EPOLLIN)

    def add(self, key: Key, group: Cgroup, file: str, stall: int) -> bool:
        """Tell `key` when some tasks have waited `stall` microseconds of a window.

        False where the kernel has no such triggers, or does not let us have one.
        """
        try:
            trigger = os.open(group.path / file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(trigger, f"some {stall} {WINDOW}".encode())
            with self._lock:
                self._epoll.register(trigger, select.EPOLLPRI)
                self._files[key], self._keys[trigger] = trigger, key
        except OSError:
            os.close(trigger)
            return False
        return True

    def discard(self, key: Key) -> None:
        """Take a trigger back; one that is not there is fine."""
        with self._lock:
            trigger = self._files.pop(key, None)
            if trigger is not None:
                del self._keys[trigger]
                os.close(trigger)  # the epoll forgets it with its last descriptor

    def wait(self) -> frozenset[Key]:
        """Block until something has stalled; empty once `end` was called. For one thread."""
        while True:
            ready = self._epoll.poll()
            if any(number == self._end for number, _ in ready):
                return frozenset()
            with self._lock:
                for number, mask in ready:
                    if mask & select.EPOLLERR and number in self._keys:
                        self._epoll.unregister(number)  # its group is gone, and ready for ever
                told = frozenset(
                    self._keys[number]
                    for number, mask in ready
                    if number in self._keys and not mask & select.EPOLLERR
                )
            if told:
                return told

    def end(self) -> None:
        """Let `wait` return for good."""
        os.eventfd_write(self._end, 1)

    def close(self) -> None:
        """Give everything back; nobody waits any more."""
        for key in list(self._files):
            self.discard(key)
        self._epoll.close()
        os.close(self._end)
