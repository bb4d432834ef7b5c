"""The words for what a container is doing; fixed by the contract and seen in `anchor ps`."""

from __future__ import annotations

import enum
import signal
from typing import final

from anchor_supervisor.values import frozen


class State(enum.StrEnum):
    """Where in its life a container is."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    COMPLETED = "completed"
    FAILED = "failed"


class Phase(enum.StrEnum):
    """Where in its life the whole fleet is."""

    IDLE = "idle"
    UP = "up"
    STOPPING = "stopping"
    DONE = "done"


class HealthState(enum.StrEnum):
    """What the probes have said so far in this run."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@final
@frozen
class ExitStatus:
    """How a run ended. Exactly one of `code` and `signal` is set, or neither when nobody saw it.

    `oom` carries the words of the kill (``oom (limit 64M, peak 64M)``) where the kernel's
    out-of-memory killer acted in the container's cgroup.
    """

    code: int | None = None
    signal: int | None = None
    oom: str | None = None

    @property
    def success(self) -> bool:
        """True only for exit code 0."""
        return self.code == 0

    def __str__(self) -> str:
        """Return ``exited (1)``, ``killed by SIGKILL`` or ``ended (...)``, then the oom words."""
        if self.code is not None:
            words = f"exited ({self.code})"
        elif self.signal is not None:
            words = f"killed by {_signal_name(self.signal)}"
        else:
            words = "ended (nobody saw how)"
        return f"{words}, {self.oom}" if self.oom else words


@final
@frozen
class Transition:
    """One change of state or health. `at` in monotonic seconds."""

    at: float
    state: State
    health: HealthState
    reason: str


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals between SIGRTMIN and SIGRTMAX have no names of their own
        return f"signal {number}"
