"""What containers hold is given back by several hands, for at the end there may be a thousand.

Most of that is waiting: for the disk, which frees the block of every directory, and for the kernel,
which takes network namespaces apart in the background as soon as nobody holds them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.failures import whatever_happens
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.values import define, field

if TYPE_CHECKING:
    from queue import SimpleQueue

    _Handed = SimpleQueue[tuple[InstanceId, Holdings] | None]

HANDS: Final = 8


def end_runs(runs: Mapping[InstanceId, HostRun]) -> None:
    """Kill what still runs, and wait for all of it; what cannot be is logged. Blocks."""
    for instance, run in runs.items():
        if not run.ended:
            with whatever_happens(instance):
                run.holdings.cgroup.kill()
    for instance, run in runs.items():
        with whatever_happens(instance):
            run.abandon()


def _queue() -> _Handed:
    from queue import SimpleQueue  # a single command gives back what it has by itself

    return SimpleQueue()


@final
@define(eq=False)
class Farewell:
    """Threads that give back what they are handed, in no order; there are none before that."""

    _handed: _Handed = field(factory=_queue, init=False)
    _hands: list[threading.Thread] = field(factory=list, init=False)
    _bugs: list[Exception] = field(factory=list, init=False)

    def take(self, instance: InstanceId, held: Holdings) -> None:
        """Give it back soon; what cannot be is logged. Its namespaces go at once. Never blocks."""
        held.leave()
        self._handed.put((instance, held))
        if len(self._hands) < HANDS:
            hand = threading.Thread(target=self._work, name="farewell", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had: `finish` does it alone
                hand.start()
                self._hands.append(hand)

    def finish(self) -> None:
        """Return when all that was taken is given back. Raises what nobody has thought of."""
        for _ in (self, *self._hands):
            self._handed.put(None)
        self._work()
        for hand in self._hands:
            hand.join()
        self._hands.clear()
        if self._bugs:
            raise self._bugs.pop()

    def _work(self) -> None:
        while (one := self._handed.get()) is not None:
            instance, held = one
            try:
                with whatever_happens(instance):
                    held.release()
            except Exception as bug:  # told by `finish`, once the others are done
                self._bugs.append(bug)
