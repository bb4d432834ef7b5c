"""One look at every run, once it is well or has had the time: whether something will go wrong.

One task for all of them, which lets everybody else in the loop have a turn before each look, and
for a while whatever is being started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.values import define, field

SETTLING: Final = 1.0
"""Seconds after which a program that nobody probes should have set up its signal handlers."""


PATIENCE: Final = 10.0
"""Seconds for which what is being started comes first."""


@final
@define(eq=False)
class Looks:
    """Everything here is done on the loop's own thread. `look` is called once a run.

    `at_rest` returns once nothing is being started.
    """

    look: Callable[[InstanceId, HostRun], None]
    at_rest: Callable[[], Awaitable[None]]
    _expected: deque[tuple[float, InstanceId, HostRun]] = field(factory=deque, init=False)
    _more: trio.Event = field(factory=trio.Event, init=False)

    def begun(self, instance: InstanceId, run: HostRun) -> None:
        """A run has begun: look at it when it has had the time, unless it is well before."""
        self._expected.append((trio.current_time() + SETTLING, instance, run))
        self._more.set()

    def well(self, instance: InstanceId, run: HostRun) -> None:
        """A run is well: look at it now, unless that was done."""
        if not run.looked_at and not run.ended:
            run.looked_at = True
            self.look(instance, run)

    async def run(self) -> None:
        """Go on until cancelled; at rest where there is nothing to look at."""
        while True:
            await self._more.wait()
            while self._expected:
                due, instance, run = self._expected.popleft()
                if not run.looked_at and not run.ended:
                    if trio.current_time() < due:
                        await trio.sleep_until(due)
                    with trio.move_on_at(due + PATIENCE):
                        await self.at_rest()
                    await trio.lowlevel.checkpoint()
                    self.well(instance, run)
            self._more = trio.Event()
