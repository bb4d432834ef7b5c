"""The end of all containers of a fleet: what they hold is given back at once, not one by one.

Most of that is waiting: for the disk, which frees the block of every directory, and for the kernel,
which takes network namespaces apart in the background as soon as nobody holds them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, final

from attrs import field

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.failures import whatever_happens
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.values import define

HANDS: Final = 8


def give_all_back(
    holdings: Mapping[InstanceId, Holdings], runs: Mapping[InstanceId, HostRun]
) -> None:
    """Kill what still runs and give everything back; what cannot be is logged. Blocks."""
    for instance, run in runs.items():
        if not run.ended:
            with whatever_happens(instance):
                run.holdings.cgroup.kill()
    for instance, run in runs.items():
        with whatever_happens(instance):
            run.abandon()
    for held in holdings.values():
        held.leave()
    _Hands(deque(holdings.items())).work()


@final
@define(eq=False)
class _Hands:
    """Threads that take from one heap until it is empty."""

    heap: deque[tuple[InstanceId, Holdings]]
    bugs: list[Exception] = field(factory=list, init=False)

    def work(self) -> None:
        """Return when all is given back; raise the first thing that nobody thought of."""
        others = [
            threading.Thread(target=self._take) for _ in range(min(HANDS, len(self.heap)) - 1)
        ]
        for hand in others:
            hand.start()
        self._take()
        for hand in others:
            hand.join()
        if self.bugs:
            raise self.bugs[0]

    def _take(self) -> None:
        for instance, held in self._each():
            try:
                with whatever_happens(instance):
                    held.release()
            except Exception as bug:  # told by `work`, once the others are done
                self.bugs.append(bug)

    def _each(self) -> Iterable[tuple[InstanceId, Holdings]]:
        while True:
            try:
                yield self.heap.popleft()
            except IndexError:
                return
