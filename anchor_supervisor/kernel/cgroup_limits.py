"""Limits as control group files: which file, which controller, which value, and what is missing.

Values are as `fleet.toml` means them; the fleet model fits `LimitValues` without being imported.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.values import frozen

_PERIOD: Final = 100_000  # microseconds; the kernel's own default for cpu.max
DEFAULTS: Final[Mapping[str, str]] = {
    "memory.max": "max",
    "memory.high": "max",
    "memory.swap.max": "max",
    "cpu.max": f"max {_PERIOD}",
    "cpu.weight": "100",
    "cpuset.cpus": "",
    "pids.max": "max",
    "io.weight": "default 100",
}
"""What a new group says of each file that `settings` can name (cgroup-v2.rst)."""

_KILL_WHOLE: Final = ("memory.oom.group", "1")
_LEAST_QUOTA: Final = 1_000  # microseconds: kernel/sched/core.c, min_cfs_quota_period


class LimitValues(Protocol):
    """Limits of one container; None is no limit. Sizes in bytes, `cpus` in processors."""

    @property
    def memory(self) -> int | None:
        """Hard limit of memory."""

    @property
    def memory_high(self) -> int | None:
        """Where the kernel begins to reclaim and throttle."""

    @property
    def swap(self) -> int | None:
        """Limit of swap alone."""

    @property
    def cpus(self) -> float | None:
        """Processors that may be busy at a time."""

    @property
    def cpu_weight(self) -> int | None:
        """Share under contention, 1 to 10,000."""

    @property
    def cpuset(self) -> str | None:
        """Processors to run on, such as `0-1,4`."""

    @property
    def pids(self) -> int | None:
        """Tasks (processes and threads)."""

    @property
    def io_weight(self) -> int | None:
        """Share of the disk under contention, 1 to 10,000."""


@final
@frozen
class Setting:
    """One file to write: `key` is the name in the fleet file, `controller` what must be enabled."""

    key: str
    controller: str
    file: str
    value: str


def settings(limits: LimitValues) -> tuple[Setting, ...]:
    """Turn limits into the files to write, in the order to write them (cgroup-v2.rst)."""
    wanted: list[tuple[str, str, str, int | str | None]] = [
        ("memory", "memory", "memory.max", limits.memory),
        ("memory_high", "memory", "memory.high", limits.memory_high),
        ("swap", "memory", "memory.swap.max", limits.swap),
        ("cpus", "cpu", "cpu.max", None if limits.cpus is None else _cpu_max(limits.cpus)),
        ("cpu_weight", "cpu", "cpu.weight", limits.cpu_weight),
        ("cpuset", "cpuset", "cpuset.cpus", limits.cpuset),
        ("pids", "pids", "pids.max", limits.pids),
        ("io_weight", "io", "io.weight", limits.io_weight),
    ]
    return tuple(
        Setting(key, controller, file, str(value))
        for key, controller, file, value in wanted
        if value is not None
    )


def _cpu_max(cpus: float) -> str:
    return f"{max(_LEAST_QUOTA, round(cpus * _PERIOD))} {_PERIOD}"


def controllers_for(limits: LimitValues) -> frozenset[str]:
    """Name the controllers that these limits need."""
    return frozenset(setting.controller for setting in settings(limits))


def unenforceable(limits: LimitValues, available: Iterable[str]) -> tuple[str, ...]:
    """Name the limits whose controller is not `available`: known before any group is made."""
    have = frozenset(available)
    return tuple(item.key for item in settings(limits) if item.controller not in have)


def missing(limits: LimitValues, group: Cgroup) -> tuple[str, ...]:
    """Name the limits whose file `group` does not have (io.weight and swap depend on more)."""
    return tuple(item.key for item in settings(limits) if not group.has(item.file))


@functools.lru_cache(maxsize=256)
def values(limits: LimitValues, enforced: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """List what is to be written to which file of a new group, where these limits are `enforced`.

    As `apply_limits` does it.
    """
    whole = (_KILL_WHOLE,) if "memory" in enforced else ()
    return (
        *whole,
        *((item.file, item.value) for item in settings(limits) if item.key in enforced),
    )


def apply_limits(limits: LimitValues, group: Cgroup) -> tuple[str, ...]:
    """Write every limit that `group` has a file for; return the keys of those it has not.

    Where memory can be limited at all, an OOM kill takes the whole container: half a container is
    worse than none, and the restart policy can only see a whole one end. Blocks while the kernel
    reclaims what is above a new limit of memory. Raises KernelError for the first value that the
    kernel refuses, once all the others are written.
    """
    if group.has(_KILL_WHOLE[0]):
        group.write(*_KILL_WHOLE)
    absent, refusals = [], []
    for item in settings(limits):
        try:
            group.write(item.file, item.value)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                absent.append(item.key)
            else:
                refusals.append(error)
    if refusals:
        raise refusals[0]
    return tuple(absent)


def lift_limits(limits: LimitValues, group: Cgroup) -> None:
    """Take back every limit of `group` that `limits` does not have. Raises KernelError."""
    kept = {item.file for item in settings(limits)}
    for file, value in DEFAULTS.items():
        if file in kept or group.read(file) in (None, value):
            continue
        try:
            group.write(file, value or "\n")  # an empty write would never reach the kernel
        except KernelError as error:
            if error.errno != errno.ENOSPC:
                raise
            # Where processes are their processors can be changed, and not left unsaid.
            every = Cgroup(group.path.parent).read("cpuset.cpus.effective")
            group.write(file, every or value)


def enable_controllers(mount: Path, parent: Cgroup, wanted: Iterable[str]) -> frozenset[str]:
    """Give the children of `parent` the `wanted` controllers, from `mount` down.

    Returns those that they have now. A controller is passed over where the kernel does not offer it
    or refuses it: a group with processes of its own cannot have controlled children (EBUSY), and
    `cpu` cannot be had beside real-time processes (EINVAL).
    """
    depth = parent.path.relative_to(mount).parts
    groups = [Cgroup(mount.joinpath(*depth[:count])) for count in range(len(depth) + 1)]
    have = frozenset(wanted)
    for group in groups:
        enabled = frozenset((group.read("cgroup.subtree_control") or "").split())
        have = frozenset(name for name in have if name in enabled or _enable(group, name))
    return have


def _enable(group: Cgroup, controller: str) -> bool:
    """One at a time, so that a refusal does not take the others along."""
    if controller not in group.controllers():
        return False
    try:
        group.write("cgroup.subtree_control", f"+{controller}")
    except KernelError:
        return False
    return True
