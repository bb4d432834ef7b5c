"""Facts about the machine that decide which tests can run here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MACHINE_FACT: Final = "machine: "
"""How the reason of a skip begins that is legal everywhere: the other kernel runs the test."""

LIMITS: Final = frozenset({"cpu", "memory", "pids"})


def limits_can_be_enforced() -> bool:
    """Whether cgroup v2 is the only hierarchy, with the controllers that limits need."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    return controllers.exists() and set(controllers.read_text().split()) >= LIMITS
