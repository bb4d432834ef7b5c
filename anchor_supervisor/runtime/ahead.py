"""What instances that have yet to start will hold is taken while there is time: before their turn.

An instance that waits for another, or for its hour, then starts as quickly as one that starts
again: namespaces, address, cgroup, writable layer and root are there. One at a time, and only
while no start is under way, since a start must never stand behind what can wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import final

import trio

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.values import define, field


@final
@define(eq=False)
class Ahead:
    """Everything here is done on the loop's own thread, but for `take`, which blocks.

    `waiting` gives an instance that holds nothing yet and is not among these, or None. Where `take`
    fails, that is for the instance's start to find out and to tell. Until then nothing more is
    taken for that instance, nor for one that is gone.
    """

    waiting: Callable[[set[InstanceId]], InstanceId | None]
    take: Callable[[InstanceId], object]
    _busy: Counter[InstanceId] = field(factory=Counter, init=False)
    _passed_over: set[InstanceId] = field(factory=set, init=False)
    _taken_for: InstanceId | None = field(default=None, init=False)
    _taken: trio.Event = field(factory=trio.Event, init=False)
    _stirred: trio.Event = field(factory=trio.Event, init=False)
    _rested: trio.Event = field(factory=trio.Event, init=False)
    _one: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def run(self) -> None:
        """Go on until cancelled, after each start; at rest where nobody waits."""
        while True:
            await self._stirred.wait()
            instance = None if self._busy else self.waiting(self._passed_over)
            if instance is None:
                self._stirred = trio.Event()
                continue
            self._taken_for, self._taken = instance, trio.Event()
            try:
                await trio.to_thread.run_sync(self.take, instance, limiter=self._one)
            except AnchorError:
                self._passed_over.add(instance)
            finally:
                self._taken_for = None
                self._taken.set()

    def takes_for(self, instance: InstanceId) -> bool:
        """Whether something is being taken for this one at this moment."""
        return self._taken_for == instance

    async def begin(self, instance: InstanceId) -> None:
        """A start of the instance begins, or its removal: from now on nothing is taken for it."""
        self._busy[instance] += 1
        if self._taken_for == instance:
            with trio.CancelScope(shield=True):  # some milliseconds
                await self._taken.wait()

    def end(self, instance: InstanceId, *, gone: bool = False) -> None:
        """That is over; `gone`: it was a removal."""
        self._busy[instance] -= 1
        if not self._busy[instance]:
            del self._busy[instance]
        (self._passed_over.add if gone else self._passed_over.discard)(instance)
        if not self._busy:
            self._stirred.set()
            self._rested.set()
            self._rested = trio.Event()

    async def at_rest(self) -> None:
        """Return once no start is under way, and no removal."""
        while self._busy:
            await self._rested.wait()
