"""At most so many containers start at a time: who has a place, and who is next.

It counts and queues; it starts nothing.
"""

from __future__ import annotations

from typing import final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.supervision.commands import Report
from anchor_supervisor.supervision.states import State


@final
class Slots:
    """The places of `[fleet].parallel`; `most` None: as many as are asked for."""

    def __init__(self, most: int | None) -> None:
        """Begin with every place free."""
        self.most = most
        self._starting: set[InstanceId] = set()
        self._queue: dict[InstanceId, None] = {}

    @property
    def free(self) -> bool:
        """Whether one that comes now may start at once, as nobody waits before it."""
        return self.most is None or not (self._queue or self._full)

    @property
    def _full(self) -> bool:
        return self.most is not None and len(self._starting) >= self.most

    @property
    def why(self) -> str:
        """What one that waits is told."""
        return f"waiting for one of `{self.most}` starts at a time"

    def hear(self, report: Report) -> None:
        """Take in who starts, and who has started or given it up."""
        if report.state is State.STARTING:
            self._starting.add(report.instance)
        else:
            self._starting.discard(report.instance)

    def queue(self, identity: InstanceId) -> bool:
        """Put an instance at the end of the queue; return whether it was not in it."""
        new = identity not in self._queue
        self._queue.setdefault(identity)
        return new

    def waits(self, identity: InstanceId) -> bool:
        """Whether an instance is in the queue."""
        return identity in self._queue

    def next(self) -> InstanceId | None:
        """Take the first of the queue, where there is a place for it."""
        if self._full or not self._queue:
            return None
        identity = next(iter(self._queue))
        del self._queue[identity]
        return identity

    def leave(self, identity: InstanceId) -> None:
        """Take an instance out of the queue."""
        self._queue.pop(identity, None)
