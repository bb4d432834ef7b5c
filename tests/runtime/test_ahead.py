"""What is taken ahead of a start: only at rest, one at a time, never beside the start itself."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.lowlevel
import trio.testing

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.ahead import Ahead

ONE, TWO, THREE = (InstanceId(name, 1) for name in ("one", "two", "three"))


class Taker:
    """Takes for instances, each as slowly as the test wants."""

    def __init__(self, *instances: InstanceId, broken: InstanceId | None = None) -> None:
        self.left = list(instances)
        self.broken = broken
        self.taken: list[InstanceId] = []
        self.go_on = threading.Semaphore(0)

    def waiting(self, but: set[InstanceId]) -> InstanceId | None:
        return next((one for one in self.left if one not in but), None)

    def take(self, instance: InstanceId) -> None:
        assert self.go_on.acquire(timeout=30)
        self.taken.append(instance)
        if instance == self.broken:
            message = "no more namespaces"
            raise HostError(message)
        self.left.remove(instance)


@asynccontextmanager
async def running(taker: Taker) -> AsyncIterator[Ahead]:
    """Let it run for the block's length."""
    ahead = Ahead(taker.waiting, taker.take)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        yield ahead
        nursery.cancel_scope.cancel()
        for _ in range(9):
            taker.go_on.release()


async def settled() -> None:
    """Every task has done what it can."""
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_nothing_is_taken_before_the_first_start_or_beside_one() -> None:
    """All that waits is taken once the starts are over, in order."""
    taker = Taker(ONE, TWO)
    async with running(taker) as ahead:
        await ahead.begin(THREE)
        await settled()
        assert not ahead.takes_for(ONE)
        taker.go_on.release()
        taker.go_on.release()
        await settled()
        assert taker.taken == []
        ahead.end(THREE)
        while taker.left:
            await trio.lowlevel.checkpoint()
        await settled()
    assert taker.taken == [ONE, TWO]


async def test_a_start_waits_for_what_is_being_taken_for_it() -> None:
    """So no two threads take for one instance; another's start does not wait."""
    taker = Taker(ONE)
    begun: list[InstanceId] = []

    async def begin(ahead: Ahead, instance: InstanceId) -> None:
        await ahead.begin(instance)
        begun.append(instance)

    async with running(taker) as ahead, trio.open_nursery() as nursery:
        await ahead.begin(THREE)
        ahead.end(THREE)
        await settled()
        assert ahead.takes_for(ONE)
        nursery.start_soon(begin, ahead, ONE)
        nursery.start_soon(begin, ahead, TWO)
        await settled()
        assert begun == [TWO]
        taker.go_on.release()
        while ONE not in begun:
            await trio.lowlevel.checkpoint()
        assert taker.taken == [ONE]


async def test_what_fails_is_left_to_the_start() -> None:
    """It is not tried again and again; after a start of it, it may be."""
    taker = Taker(ONE, TWO, broken=ONE)
    async with running(taker) as ahead:
        for _ in range(3):
            taker.go_on.release()
        await ahead.begin(THREE)
        ahead.end(THREE)
        while TWO in taker.left:
            await trio.lowlevel.checkpoint()
        await settled()
        assert taker.taken == [ONE, TWO]
        await ahead.begin(ONE)
        ahead.end(ONE)
        while len(taker.taken) < 3:
            await trio.lowlevel.checkpoint()
    assert taker.taken == [ONE, TWO, ONE]


async def test_nothing_is_taken_for_one_that_is_gone() -> None:
    """Unless it has come back, and started, since."""
    taker = Taker(ONE)
    async with running(taker) as ahead:
        for _ in range(2):
            taker.go_on.release()
        await ahead.begin(ONE)
        ahead.end(ONE, gone=True)
        await settled()
        assert not ahead.takes_for(ONE)
        await ahead.begin(ONE)
        ahead.end(ONE)
        while not taker.taken:
            await trio.lowlevel.checkpoint()
    assert taker.taken == [ONE]
