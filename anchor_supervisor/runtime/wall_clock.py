"""The wall clock for a fleet with schedules: what it reads, and that somebody has set it.

The core knows monotonic seconds alone, and how far the wall clock is ahead of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

import trio

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.kernel.clock_watch import ClockWatch
from anchor_supervisor.observability.log import log
from anchor_supervisor.supervision import events
from anchor_supervisor.values import define, field

STEADY: Final = 0.05
"""Seconds that a clock may drift (adjtimex(2)) before the times that are shown follow it."""


def wall_offset() -> float:
    """What the wall clock is ahead of the loop's own, in seconds."""
    return time.time_ns() / 1e9 - trio.current_time()


@final
@define(eq=False)
class WallClock:
    """Tells the core of every step of the clock, through `post`, once a fleet has schedules.

    `stepped` is told as well, by how many seconds.
    """

    post: Callable[[events.Event], None]
    stepped: Callable[[float], None] = lambda _: None
    _offset: float = field(factory=wall_offset, init=False)
    _shown: float = field(factory=wall_offset, init=False)
    _needed: trio.Event = field(factory=trio.Event, init=False)

    def shown_offset(self) -> float:
        """The offset by which times are shown: a start that is told twice is told the same."""
        present = wall_offset()
        if abs(present - self._shown) > STEADY:
            self._shown = present
        return round(self._shown, 3)

    def follow(self, fleet: Fleet) -> None:
        """Watch from now on, if this fleet has a schedule."""
        scheduled = any(one.schedule is not None for one in fleet.containers.values())
        if scheduled and not self._needed.is_set():
            self._needed.set()
            self._tell()

    async def watch(self) -> None:
        """Wait for somebody to set the clock, for ever; without schedules, for nothing."""
        await self._needed.wait()
        try:
            with ClockWatch() as clock:
                await self._follow_steps(clock)
        except KernelError as error:
            log.warning("nobody tells of a clock that is set", why=str(error))

    async def _follow_steps(self, clock: ClockWatch) -> None:
        self._tell()  # it may have been set between the first look and the watch
        while True:
            await trio.lowlevel.wait_readable(clock.fileno())
            if clock.take_changed():
                before = self._offset
                self._tell()
                self.stepped(self._offset - before)

    def _tell(self) -> None:
        self._offset = wall_offset()
        self.post(events.ClockSet(self._offset))
