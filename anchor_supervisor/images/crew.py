"""Work in several threads that ends as one: with the first failure, or with Ctrl-C, at once.

The threads are daemons, so that none of them keeps the process alive, and whoever waits is the
caller's thread, which the signal interrupts. It wakes now and then all the same: a signal that
comes after Python has looked for one, and before the lock is slept on, wakes nobody.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar, final

from anchor_supervisor.images.hang_up import Stopped
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.values import frozen

T = TypeVar("T")

_PARTING: Final = 2.0  # seconds that threads get to let go of what they hold
_LOOK: Final = 0.25  # seconds until a signal that woke nobody is seen


@final
@frozen
class Stage(Generic[T]):
    """One step that every item takes, and how many threads take it at a time."""

    name: str
    threads: int
    act: Callable[[T], None]


def carry_out(items: Sequence[T], stages: Sequence[Stage[T]], stop: Callable[[], None]) -> None:
    """Take every item through all stages; items overtake each other.

    The first exception ends it: `stop` is called, which must make every `act` under way raise
    Stopped soon, and the exception is raised here.
    """
    over: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()
    lanes: list[queue.SimpleQueue[tuple[T] | None]] = [queue.SimpleQueue() for _ in stages]

    def work(number: int) -> None:
        act = stages[number].act
        while (job := lanes[number].get()) is not None:
            if stopped.is_set():
                return
            try:
                act(job[0])
            except BaseException as error:
                over.put(error)
                return
            if number + 1 < len(lanes):
                lanes[number + 1].put(job)
            else:
                over.put(None)

    threads = [
        threading.Thread(target=work, args=(number,), name=stage.name, daemon=True)
        for number, stage in enumerate(stages)
        for _ in range(min(stage.threads, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for item in items:
            lanes[0].put((item,))
        for _ in items:
            _raise(_next(over))
    except BaseException:
        stopped.set()
        stop()
        raise
    finally:
        for lane in lanes:
            for _ in threads:
                lane.put(None)
        ends = time.monotonic() + _PARTING
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, ends - time.monotonic()))


def _next(over: queue.SimpleQueue[BaseException | None]) -> BaseException | None:
    while True:
        with suppress(queue.Empty):
            return over.get(timeout=_LOOK)


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error


@final
class Stoppable:
    """A progress that raises Stopped in whoever reports to it, once nobody waits any more."""

    def __init__(self, inner: Progress, stopped: threading.Event) -> None:
        """Pass everything on until `stopped`."""
        self._inner = inner
        self._stopped = stopped

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Pass it on."""
        self._check()
        self._inner.begin(item, verb, total)

    def advance(self, item: str, count: int) -> None:
        """Pass it on."""
        self._check()
        self._inner.advance(item, count)

    def end(self, item: str, words: str) -> None:
        """Pass it on."""
        self._check()
        self._inner.end(item, words)

    def note(self, sentence: str) -> None:
        """Pass it on."""
        self._check()
        self._inner.note(sentence)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Stopped
