"""Group commit: who asks while another's work is under way is served with all the others at once.

A burst of starts would else make as many exchanges with the kernel as there are containers. Whoever
comes first carries out what all that wait have asked for; they find it done. Who has other work to
do meanwhile leaves that to a thread which does nothing else.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar, final

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.values import define

Asked = TypeVar("Asked")


@final
@define(eq=False)
class Ticket(Generic[Asked]):
    """One wish, and what became of it."""

    asked: Asked
    done: bool = False
    error: BaseException | None = None

    def settle(self) -> None:
        """Raise what went wrong with this one."""
        if self.error is not None:
            raise self.error


@final
class Together(Generic[Asked]):
    """Serves many by few calls of `carry_out`, which never overlap.

    `carry_out` takes several wishes, in the order in which they came, and returns what went wrong
    with each; what it raises is everybody's. `lock` is held meanwhile. `close` ends its thread.
    """

    def __init__(
        self,
        lock: threading.Lock,
        carry_out: Callable[[Sequence[Asked]], Sequence[AnchorError | None]],
    ) -> None:
        """Share `lock` with whoever else must not come in between."""
        self._lock = lock
        self._carry_out = carry_out
        self._waiting: deque[Ticket[Asked]] = deque()
        self._stirred: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False: it is over
        self._server: threading.Thread | None = None
        self._beginning = threading.Lock()

    def begin(self, asked: Asked) -> Ticket[Asked]:
        """Have it carried out by a thread of its own, beside all else; `end` tells of it."""
        ticket = self.put(asked)
        with self._beginning:
            if self._server is None:
                self._server = threading.Thread(
                    target=self._serve_whoever_comes, name="together", daemon=True
                )
                self._server.start()
        self._stirred.put(True)
        return ticket

    def end(self, ticket: Ticket[Asked]) -> None:
        """Return once it has been carried out; raise what went wrong with this one. Blocks."""
        self.serve(ticket)
        ticket.settle()

    def close(self) -> None:
        """End the thread, once it has done what was begun; twice is allowed."""
        with self._beginning:
            server, self._server = self._server, None
        if server is not None:
            self._stirred.put(False)
            server.join()

    def ask(self, asked: Asked) -> None:
        """Return once it has been carried out; raise what went wrong with this one. Blocks."""
        self.end(self.put(asked))

    def put(self, asked: Asked) -> Ticket[Asked]:
        """Wish for it; who calls `serve` next carries it out."""
        ticket = Ticket(asked)
        self._waiting.append(ticket)
        return ticket

    def withdraw(self, ticket: Ticket[Asked]) -> None:
        """Wish for it no more, where nobody has begun with it."""
        with suppress(ValueError):
            self._waiting.remove(ticket)

    def serve(self, ticket: Ticket[Asked]) -> None:
        """Carry out all that is wished for, unless this one has been served by now. Blocks."""
        if ticket.done:
            return
        with self._lock:
            if not ticket.done:
                self._serve_all()

    def _serve_whoever_comes(self) -> None:
        while self._stirred.get():
            if self._waiting:  # else somebody could not wait, and has served all of them
                with self._lock:
                    self._serve_all()

    def _serve_all(self) -> None:
        wave = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not wave:
            return
        try:
            results = self._carry_out([ticket.asked for ticket in wave])
            for ticket, result in zip(wave, results, strict=True):
                ticket.error = result
        except BaseException as error:
            for ticket in wave:
                ticket.error = error
        for ticket in wave:
            ticket.done = True
