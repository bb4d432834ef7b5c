"""The words for what a container is doing; fixed by the contract and seen in `anchor ps`."""

from __future__ import annotations

import enum
from typing import final

from attrs import frozen


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
