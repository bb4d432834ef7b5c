"""How a stop goes: drained, asked by a command, by a signal, killed, and killed again.

What it is for, too. It keeps the moments, chooses the steps and finds the words; it does nothing.
"""

from __future__ import annotations

import enum
from typing import Final, final

from anchor_supervisor.fleet.model import InstanceId, StopPolicy
from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.commands import Drain, Kill, RunStopCommand, Signal
from anchor_supervisor.values import frozen

KILL_AGAIN: Final = 1.0
"""Seconds after a kill that changed nothing until the next; doubles up to KILL_AGAIN_MOST."""

KILL_AGAIN_MOST: Final = 64.0

KEPT_OUTPUT: Final = 4096
"""Characters of a stop command's output that are kept: its end, where the error is."""

Step = Drain | RunStopCommand | Signal | Kill


@final
class Sequel(enum.Enum):
    """What comes after a stop."""

    STOPPED = enum.auto()  # it stays down, as asked
    START = enum.auto()  # somebody wants it fresh
    RETRY = enum.auto()  # it was unhealthy, or ran too long: the restart policy decides
    FAILED = enum.auto()  # the same, and its policy is to leave it down


@final
class Stage(enum.Enum):
    """How far a stop has gone."""

    BEGUN = enum.auto()  # nothing has been sent yet, perhaps because nothing runs yet
    DRAINING = enum.auto()
    ASKED = enum.auto()  # by its stop command, which runs
    SIGNALLED = enum.auto()
    KILLED = enum.auto()


@final
@frozen
class CommandResult:
    """How the last `stop.command` ended. `at` in monotonic seconds."""

    at: float
    ok: bool
    output: str


@final
class Stop:
    """The stop of one instance: why, what follows, and how far it has gone.

    `policy` may be exchanged at any time; a grace that has begun stays as it was. `due_at` is the
    monotonic second of the next step, None while there is nothing to stop yet. `result` is that
    of the last stop command there has been.
    """

    def __init__(self, instance: InstanceId, policy: StopPolicy) -> None:
        """Begin with no stop under way."""
        self._instance = instance
        self.policy = policy
        self.sequel = Sequel.STOPPED
        self.stage = Stage.BEGUN
        self.why = ""
        self.told = ""
        self.due_at: float | None = None
        self.result: CommandResult | None = None
        self.merciless = False
        self._drain = 0.0
        self._grace = 0.0
        self._kills = 0

    def begin(self, sequel: Sequel, why: str, drain: float = 0.0) -> None:
        """Begin a stop that is preceded by `drain` seconds; nothing has been sent yet."""
        self.stage = Stage.BEGUN
        self.redirect(sequel, why)
        self.due_at = None
        self._drain = drain
        self._kills = 0

    def redirect(self, sequel: Sequel, why: str) -> None:
        """Let the stop lead elsewhere; how far it has gone stays."""
        self.sequel = sequel
        self.why = self.told = why

    def advance(self, now: float) -> Step:
        """Go on to the next step, and return it: when there is something to stop, then at `due_at`.

        `told` says how far it has gone.
        """
        if self.merciless or self.stage not in {Stage.BEGUN, Stage.DRAINING}:
            return self._kill(now)
        if self.stage is Stage.BEGUN and self._drain > 0:
            self.stage = Stage.DRAINING
            self.due_at = now + self._drain
            self.told = f"{self.why}, drained for {words.duration(self._drain)} first"
            return Drain(self._instance)
        self._grace = self.policy.grace
        if self._grace <= 0:
            return self._kill(now)
        self.due_at = now + self._grace
        if self.policy.command is None:
            return self._signal(self.why)
        self.stage = Stage.ASKED
        self.told = f"{self.why}, asked by its stop command"
        return RunStopCommand(self._instance, self.policy.command, self._grace)

    def command_finished(self, now: float, *, ok: bool, output: str) -> Step | None:
        """Take in the end of the stop command; return the step that follows, if it is its turn."""
        if self.stage is not Stage.ASKED:
            return None
        self.result = CommandResult(now, ok, output[-KEPT_OUTPUT:])
        return self._signal(f"{self.why}, its stop command {'has ended' if ok else 'failed'}")

    def _signal(self, told: str) -> Step:
        self.stage = Stage.SIGNALLED
        self.told = told
        return Signal(self._instance, self.policy.signal)

    def _kill(self, now: float) -> Step:
        unheard = self.stage is Stage.ASKED
        self.stage = Stage.KILLED
        self._kills += 1
        pause = KILL_AGAIN * 2 ** min(self._kills - 1, 10)
        self.due_at = now + min(pause, KILL_AGAIN_MOST)
        if self._kills > 1:
            how = f"killed {self._kills} times, and the kernel has not let it go yet"
        elif self.merciless or self._grace <= 0:
            how = "killed at once"
        else:
            how = f"killed after {words.duration(self._grace)} of grace"
            how += ", within which its stop command did not end" if unheard else ""
        self.told = f"{self.why}, {how}"
        return Kill(self._instance)
