"""Group commit: who asks while another's work is under way is served with all the others at once.

A burst of starts would else make as many exchanges with the kernel as there are containers. Whoever
comes first carries out what all that wait have asked for; they find it done.
"""

from __future__ import annotations

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
    with each; what it raises is everybody's. `lock` is held meanwhile.
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

    def ask(self, asked: Asked) -> None:
        """Return once it has been carried out; raise what went wrong with this one. Blocks."""
        ticket = self.put(asked)
        self.serve(ticket)
        ticket.settle()

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
        with self._lock:
            if not ticket.done:
                self._serve_all()

    def _serve_all(self) -> None:
        wave = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            results = self._carry_out([ticket.asked for ticket in wave])
            for ticket, result in zip(wave, results, strict=True):
                ticket.error = result
        except BaseException as error:
            for ticket in wave:
                ticket.error = error
        for ticket in wave:
            ticket.done = True
