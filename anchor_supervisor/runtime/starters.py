"""Threads that start containers, each of which takes the next start itself.

A thread that had to wait for the loop to give it more would stand still meanwhile, since the loop
must first get hold of the interpreter, which another start has. And each start that wakes the loop
takes the interpreter from the others. So while starts wait for a thread, what has been done is told
to the loop a few at a time: whatever follows from it would have to wait behind those anyway.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

import trio

from anchor_supervisor.values import define, field

BEAT: Final = 0.05
"""Seconds after which the loop hears in any case of what has been done."""

Done = TypeVar("Done")


@final
@define(eq=False)
class _Start(Generic[Done]):
    """One that is wanted, and what came of it."""

    task: trio.lowlevel.Task
    act: Callable[[], Done]
    done: Done | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    def do(self) -> None:
        try:
            self.done = self.act()
        except BaseException as error:  # noqa: ASYNC103 - raised again where it was asked for
            self.error = error


@final
@define(eq=False)
class Starters(Generic[Done]):
    """At most so many threads; there are none while nothing is to be started.

    In the order in which they were asked for.
    """

    most: int
    _threads: int = field(default=0, init=False)
    _wanted: deque[_Start[Done]] = field(factory=deque, init=False)
    _over: deque[_Start[Done]] = field(factory=deque, init=False)
    _changing: threading.Lock = field(factory=threading.Lock, init=False)
    _expected: bool = field(default=False, init=False)  # that the loop will look soon
    _hurry: trio.Event = field(factory=trio.Event, init=False)

    @property
    def several(self) -> bool:
        """Whether more than one start is under way. Any thread may ask."""
        return self._threads > 1

    async def run(self, act: Callable[[], Done]) -> Done:
        """Do it in one of the threads, and return or raise what came of it.

        Can be cancelled until a thread has begun with it.
        """
        start = _Start(trio.lowlevel.current_task(), act)
        loop = trio.lowlevel.current_trio_token()
        with self._changing:
            self._wanted.append(start)
            another = self._threads < self.most
            self._threads += another
        if another:
            trio.lowlevel.start_thread_soon(lambda: self._work(loop), lambda _: None, "start")

        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            with self._changing:
                if start not in self._wanted:
                    return trio.lowlevel.Abort.FAILED
                self._wanted.remove(start)
                return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)
        if start.error is not None:
            raise start.error
        return start.done  # type: ignore[return-value]  # there is one where nothing was raised

    def _work(self, loop: trio.lowlevel.TrioToken) -> None:
        """Take one after another, in a thread."""
        while (start := self._next()) is not None:
            start.do()
            self._over.append(start)
            if not self._wanted:
                loop.run_sync_soon(self._tell)
            elif not self._expected:
                self._expected = True
                loop.run_sync_soon(self._expect)

    def _next(self) -> _Start[Done] | None:
        with self._changing:
            if self._wanted:
                return self._wanted.popleft()
            self._threads -= 1
            return None

    # On the loop's own thread.

    def _expect(self) -> None:
        trio.lowlevel.spawn_system_task(self._tell_soon, name="starts")

    async def _tell_soon(self) -> None:
        with trio.move_on_after(BEAT):
            await self._hurry.wait()
        self._expected = False  # before anything is taken: one that comes now is told of anew
        self._tell()

    def _tell(self) -> None:
        """Let go on who waits for what has been done by now."""
        self._hurry.set()
        self._hurry = trio.Event()
        while self._over:
            trio.lowlevel.reschedule(self._over.popleft().task)
