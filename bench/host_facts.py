"""What figures were taken on, and when: without it they mean nothing."""

from __future__ import annotations

import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from anchor_supervisor import __version__
from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount


def machine() -> dict[str, object]:
    """Describe this machine, now."""
    return {
        "anchor": __version__,
        "kernel": platform.release(),
        "processor": first(Path("/proc/cpuinfo"), "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": first(Path("/proc/meminfo"), "MemTotal"),
        "python": platform.python_version(),
        "file_system": file_system(Path(tempfile.gettempdir())),
        "controllers": _controllers(),
        "load": round(os.getloadavg()[0], 2),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _controllers() -> str:
    """What limits can be enforced with; the hierarchy of a hybrid machine often has none."""
    try:
        return " ".join(sorted(Cgroup(find_mount()).controllers())) or "none"
    except HostError as error:
        return error.message


def first(file: Path, key: str) -> str | None:
    """Return the first value of a key in a file of `key: value` lines."""
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def file_system(place: Path) -> str | None:
    """The type of the file system that holds a directory: the longest mount point above it."""
    best, kind = "", None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4]
        if place.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind
