"""Signals outside the loop: SIGINT and SIGTERM end a bring-up, and nothing else.

Inside the loop they are events (see `life`). Before it they end what may take long, such as the
unpacking of an archive; what was made until then is swept by its name. While everything is given
back they are only noted, since nothing may cut that short. Where a command is started before the
loop, all that it may be sent is kept for it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self, final

from anchor_supervisor.values import define, field

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

# What a command may be sent besides; without a command of our own these are not for us.
PASSED_ON: Final = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@final
class StopRequested(BaseException):
    """A signal asks for the end while a fleet is being brought up."""

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__(number)
        self.number = number


@final
@define(eq=False)
class Interruptions:
    """Takes the stop signals for the length of a block, in the main thread.

    `asked` is the number of the first that came; `owed` are those that a command is to get.
    """

    asked: int | None = field(default=None, init=False)
    owed: list[int] = field(factory=list, init=False)
    _raises: bool = field(default=False, init=False)
    _before: dict[int, Any] = field(factory=dict, init=False)

    def __enter__(self) -> Self:
        """Take them from now on."""
        self._before = {number: signal.signal(number, self._take) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def ending_the_block(self) -> Iterator[None]:
        """Let the first of them end the block. Raises StopRequested, once."""
        self._raises = True
        if self.asked is not None:
            self._raises = False
            raise StopRequested(self.asked)
        try:
            yield
        finally:
            self._raises = False

    def keep_for_command(self) -> None:
        """Leave the signals from now on to a command, which is about to run."""
        for number in (*STOP_SIGNALS, signal.SIGHUP, *PASSED_ON):
            before = signal.signal(number, lambda number, _: self.owed.append(number))
            self._before.setdefault(number, before)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.asked = self.asked or number
        if self._raises:
            self._raises = False  # what is undone on the way out is not cut short by the next
            raise StopRequested(number)
