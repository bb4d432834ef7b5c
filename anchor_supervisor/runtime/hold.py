"""Containers kept still while somebody looks at their files, and never for longer.

The freezing is the supervisor's, for the length of a request: whoever asked may be killed or be
stopped itself, and the container must not stay frozen. Its next run must not begin frozen either.
Each hold has a number: who sees the same one before and after was looking at what stood still.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final, final

import trio

from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.cgroup_watch import CgroupWatch
from anchor_supervisor.values import define, field

LONGEST: Final = 5.0  # seconds until every process has stopped; one that waits for a disk may not
MOST: Final = 600.0  # seconds that anybody is kept still for


@final
@define(eq=False)
class _Hold:
    """One frozen instance, and how many want it so."""

    cgroup: Cgroup
    number: int
    holders: int = 0
    over: trio.Event = field(factory=trio.Event)


@final
@define(eq=False)
class Holds:
    """Which instances are held. Everything here is done on the loop's own thread."""

    _holds: dict[InstanceId, _Hold] = field(factory=dict, init=False)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1), init=False)

    @asynccontextmanager
    async def held(self, instance: InstanceId, cgroup: Cgroup) -> AsyncIterator[None]:
        """Keep every process of the cgroup still for the length of the block.

        Raises Refused where some process does not stop in time; then all go on.
        """
        hold = self._holds.get(instance)
        if hold is None:
            hold = self._holds[instance] = _Hold(cgroup, next(self._numbers))
        hold.holders += 1
        try:
            cgroup.freeze(frozen=True)
            await _until_frozen(instance, cgroup)
            yield
        finally:
            hold.holders -= 1
            if hold.holders == 0:
                self._let_go(instance, hold)

    def holds(self, instance: InstanceId) -> bool:
        """Whether somebody holds the instance."""
        return instance in self._holds

    def number(self, instance: InstanceId) -> int | None:
        """The number of the hold that the instance is in, and that no other has had."""
        hold = self._holds.get(instance)
        return None if hold is None else hold.number

    async def over(self, instance: InstanceId) -> None:
        """Return once nobody holds the instance."""
        while (hold := self._holds.get(instance)) is not None:
            await hold.over.wait()

    def end(self, instance: InstanceId) -> None:
        """Let go whoever holds it: its run has ended, and the next one must not begin frozen."""
        hold = self._holds.get(instance)
        if hold is not None:
            self._let_go(instance, hold)

    def _let_go(self, instance: InstanceId, hold: _Hold) -> None:
        if self._holds.get(instance) is not hold:
            return  # let go before, when its run ended
        del self._holds[instance]
        hold.over.set()
        try:
            hold.cgroup.freeze(frozen=False)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the group has gone
                raise


async def _until_frozen(instance: InstanceId, cgroup: Cgroup) -> None:
    with trio.move_on_after(LONGEST), CgroupWatch() as watch:
        watch.add(cgroup)
        while not cgroup.frozen():
            await trio.lowlevel.wait_readable(watch.fileno())
            watch.take_changed()
        return
    message = f"`{instance}` cannot be paused: a process of it is in an uninterruptible sleep"
    raise Refused(message, hint="try again, or use `--no-pause`")
