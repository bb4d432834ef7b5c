"""When each instance wants to be looked at next: the earliest first, without looking at all."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final, final

from anchor_supervisor.fleet.model import InstanceId

SLACK: Final = 64
"""Outdated entries that are tolerated before the heap is rebuilt."""


@final
class Deadlines:
    """One deadline per instance, in monotonic seconds.

    A deadline that was moved stays in the heap until it comes to the top, where it is recognised
    as outdated.
    """

    def __init__(self) -> None:
        """Begin with nothing armed."""
        self._armed: dict[InstanceId, float] = {}
        # By name as well, which compares faster than instances do: many are due at one moment.
        self._heap: list[tuple[float, str, int, InstanceId]] = []

    def arm(self, instance: InstanceId, at: float | None) -> None:
        """Set, move or (with None) clear the deadline of this instance."""
        if at == self._armed.get(instance):
            return
        if at is None:
            del self._armed[instance]
            return
        self._armed[instance] = at
        heapq.heappush(self._heap, _entry(at, instance))
        if len(self._heap) > 2 * len(self._armed) + SLACK:
            self._heap = [_entry(at, instance) for instance, at in self._armed.items()]
            heapq.heapify(self._heap)

    def first(self) -> float | None:
        """Return the earliest deadline."""
        while self._heap and self._armed.get(self._heap[0][3]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> Iterable[InstanceId]:
        """Clear and yield what is due by now, in order of time."""
        while (at := self.first()) is not None and at <= now:
            instance = heapq.heappop(self._heap)[3]
            del self._armed[instance]
            yield instance


def _entry(at: float, instance: InstanceId) -> tuple[float, str, int, InstanceId]:
    return at, instance.container, instance.replica, instance
