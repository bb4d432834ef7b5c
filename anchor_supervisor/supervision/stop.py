"""How a stop goes: the signal, the grace, the kill, and the kill again. What it is for, too.

It keeps the moments and finds the words; it signals nothing.
"""

from __future__ import annotations

import enum
from typing import Final, final

from anchor_supervisor.fleet.model import StopPolicy
from anchor_supervisor.supervision import words

KILL_AGAIN: Final = 1.0
"""Seconds after a kill that changed nothing until the next; doubles up to KILL_AGAIN_MOST."""

KILL_AGAIN_MOST: Final = 64.0


@final
class Sequel(enum.Enum):
    """What comes after a stop."""

    STOPPED = enum.auto()  # it stays down, as asked
    START = enum.auto()  # an operator wants it fresh
    RETRY = enum.auto()  # it was unhealthy: the restart policy decides
    FAILED = enum.auto()  # it was unhealthy, and its policy is to stop


@final
class Stop:
    """The stop of one instance: why, what follows, and how far it has gone.

    `kill_at` is the monotonic second of the next kill, None while there is nothing to kill.
    """

    def __init__(self, policy: StopPolicy) -> None:
        """Begin with no stop under way."""
        self._policy = policy
        self.sequel = Sequel.STOPPED
        self.why = ""
        self.kills = 0
        self.kill_at: float | None = None
        self.merciless = False

    @property
    def asks_first(self) -> bool:
        """Whether there is a signal and a grace before the kill."""
        return not self.merciless and self._policy.grace > 0

    def begin(self, sequel: Sequel, why: str) -> None:
        """Begin a stop; nothing has been sent yet."""
        self.sequel, self.why = sequel, why
        self.kills = 0
        self.kill_at = None

    def ask(self, now: float) -> str:
        """Note that the signal goes out, and return its name."""
        self.kill_at = now + self._policy.grace
        return self._policy.signal

    def kill(self, now: float) -> str:
        """Note that a kill goes out, and return the words for how far the stop has gone."""
        self.kills += 1
        pause = KILL_AGAIN * 2 ** min(self.kills - 1, 10)
        self.kill_at = now + min(pause, KILL_AGAIN_MOST)
        if self.kills > 1:
            how = f"killed {self.kills} times, and the kernel has not let it go yet"
        elif self.merciless:
            how = "killed at once"
        else:
            how = f"killed after {words.duration(self._policy.grace)} of grace"
        return f"{self.why}, {how}"
