"""Threads for starts: in order, so many at a time, and told of soon whatever else is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing

from anchor_supervisor.errors import HostError
from anchor_supervisor.runtime.starters import Starters

PATIENCE = 30.0


async def test_what_is_asked_for_is_done_in_order_by_so_many_threads() -> None:
    """Each comes back with its own, and never more than two are under way."""
    starters: Starters[int] = Starters(2)
    under_way = most = 0
    begun: list[int] = []
    counting = threading.Lock()
    both = threading.Barrier(2, timeout=PATIENCE)

    def start(number: int) -> int:
        nonlocal under_way, most
        with counting:
            begun.append(number)
            under_way += 1
            most = max(most, under_way)
        if number < 2:
            both.wait()  # else one thread could do it all
        with counting:
            under_way -= 1
        return number * number

    found: dict[int, int] = {}

    async def run(number: int) -> None:
        found[number] = await starters.run(partial(start, number))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(run, number)
            await trio.testing.wait_all_tasks_blocked()
    assert found == {number: number * number for number in range(100)}
    assert most == 2
    assert begun[2:] == sorted(begun[2:])


@pytest.mark.parametrize("error", [HostError("no descriptor is left"), KeyError("bug")])
async def test_what_goes_wrong_is_told_to_who_asked(error: Exception) -> None:
    """And the next start does not notice."""
    starters: Starters[str] = Starters(1)

    def fail() -> str:
        raise error

    with pytest.raises(type(error)) as told:
        await starters.run(fail)
    assert told.value is error
    assert await starters.run(lambda: "well") == "well"


async def test_what_is_done_is_told_though_others_take_long() -> None:
    """The second takes for ever, and a third waits for a thread: the first goes on all the same."""
    starters: Starters[str] = Starters(1)
    go_on = threading.Event()
    done: list[str] = []

    async def run(name: str, act: Callable[[], object]) -> None:
        await starters.run(lambda: str(act()))
        done.append(name)

    async with trio.open_nursery() as nursery:
        for name, act in (("one", str), ("two", partial(go_on.wait, PATIENCE)), ("three", str)):
            nursery.start_soon(run, name, act)
            await trio.lowlevel.checkpoint()
        with trio.fail_after(PATIENCE):
            while done != ["one"]:
                await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert sorted(done) == ["one", "three", "two"]


async def test_several_that_are_done_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are done while others wait for a thread are told of together."""
    starters: Starters[int] = Starters(1)
    woken = 0
    tell = Starters._tell

    def counted(self: Starters[int]) -> None:
        nonlocal woken
        woken += 1
        tell(self)

    monkeypatch.setattr(Starters, "_tell", counted)
    held = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(starters.run, lambda: int(held.wait(PATIENCE)))
        for number in range(500):
            nursery.start_soon(starters.run, partial(int, number))
        await trio.testing.wait_all_tasks_blocked()
        held.set()
    assert woken < 250


async def test_only_what_has_not_begun_can_be_cancelled() -> None:
    """A start that waits for a thread is given up; one that is under way is waited for."""
    starters: Starters[bool] = Starters(1)
    go_on, begun = threading.Event(), threading.Event()
    done: list[bool] = []

    def first() -> bool:
        begun.set()
        return go_on.wait(PATIENCE)

    async def run(act: Callable[[], bool]) -> None:
        done.append(await starters.run(act))

    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as inner:
            outer.start_soon(run, first)
            await trio.to_thread.run_sync(begun.wait, PATIENCE)
            inner.start_soon(run, lambda: False)
            await trio.testing.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        assert done == []
        outer.cancel_scope.cancel()
        go_on.set()
    assert done == [True]
    assert await starters.run(lambda: True)
