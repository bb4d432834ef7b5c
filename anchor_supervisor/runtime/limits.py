"""The fleet's cgroups: one for the fleet, one beneath it for each instance, with its limits.

The supervisor itself never sits in an inner node (cgroup-v2.rst, "No Internal Process Constraint").
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.model import Fleet, Limits, LimitsMode
from anchor_supervisor.fleet.units import format_size
from anchor_supervisor.kernel import cgroup_limits
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from anchor_supervisor.kernel.cgroup_watch import wait_empty

PATIENCE: Final = (
    10.0  # seconds for a killed group to empty; only a process that cannot die takes so long
)


def fleet_cgroup(identity: str) -> Cgroup:
    """The cgroup of the fleet with this short id; naming it makes nothing."""
    return Cgroup(find_mount() / f"anchor-{identity}")


def make_fleet_cgroup(identity: str, fleet: Fleet) -> Cgroup:
    """Make the fleet's cgroup, and give its children the controllers that the limits need."""
    cgroup = fleet_cgroup(identity)
    cgroup.create()
    wanted = frozenset[str]().union(
        *(cgroup_limits.controllers_for(one.limits) for one in fleet.containers.values()),
        ["memory", "pids"],  # to count what is used and killed, with or without a limit
    )
    cgroup_limits.enable_controllers(find_mount(), cgroup, wanted)
    return cgroup


def enforced_limits(cgroup: Cgroup) -> frozenset[str]:
    """The limits that can be enforced beneath the fleet's cgroup, by their names in the file."""
    enabled = frozenset((cgroup.read("cgroup.subtree_control") or "").split())
    every = Limits(1, 1, 1, 1.0, 1, "0", 1, 1)
    return frozenset(
        item.key for item in cgroup_limits.settings(every) if item.controller in enabled
    )


def make_cgroup(
    cgroup: Cgroup, limits: Limits, mode: LimitsMode, enforced: frozenset[str]
) -> tuple[int, int]:
    """Make the cgroup of an instance, with its limits; `enforced` are those that there can be.

    Returns a descriptor of it, the caller's, and how many processes were killed for memory in it:
    one that could not be removed has been used before. Raises as `apply_limits`, and KernelError.
    """
    if mode is LimitsMode.BEST_EFFORT or limits.declared <= enforced:
        with suppress(KernelError):  # whoever does it step by step will tell
            return cgroup.make(cgroup_limits.values(limits, enforced)), 0
    kills = 0 if cgroup.create() else oom_kills(cgroup)
    apply_limits(cgroup, limits, mode)
    return cgroup.open(), kills


def apply_limits(cgroup: Cgroup, limits: Limits, mode: LimitsMode) -> None:
    """Write the limits of one instance.

    Raises HostError for a declared limit that this kernel has no file for, under `strict`.
    """
    absent = [key for key in cgroup_limits.apply_limits(limits, cgroup) if key in limits.declared]
    if absent and mode is LimitsMode.STRICT:
        message = f"this kernel cannot enforce the limit `{absent[0]}`"
        raise HostError(message, hint='limits = "best-effort" in [fleet] only warns')


def change_limits(cgroup: Cgroup, limits: Limits, mode: LimitsMode) -> None:
    """Bring the limits of an instance's cgroup in line while it runs; one that is gone is lifted.

    The controllers that they need are enabled, as far as the kernel has them. Memory above a new
    limit is reclaimed, which may block for seconds, and where that is not enough the instance is
    killed for it (cgroup-v2.rst, `memory.max`). Raises as `apply_limits`, and KernelError for a
    value that the kernel refuses; what can be written is written all the same.
    """
    wanted = cgroup_limits.controllers_for(limits)
    cgroup_limits.enable_controllers(find_mount(), Cgroup(cgroup.path.parent), wanted)
    cgroup_limits.lift_limits(limits, cgroup)
    apply_limits(cgroup, limits, mode)


def oom_kills(cgroup: Cgroup) -> int:
    """How many processes of the group the kernel has killed for memory so far."""
    return cgroup.memory_events().oom_kill


def oom_words(cgroup: Cgroup) -> str:
    """``oom (limit 64M, peak 64M)``, of a group that the kernel has killed for memory."""
    limit, peak = cgroup.read_number("memory.max"), cgroup.memory_peak()
    figures = [
        f"{name} {format_size(value)}"
        for name, value in (("limit", limit), ("peak", peak))
        if value is not None
    ]
    return f"oom ({', '.join(figures)})" if figures else "oom"


def end_cgroup(cgroup: Cgroup, patience: float = PATIENCE) -> bool:
    """Kill everything in the group and beneath it, and remove it; False: it cannot be emptied."""
    if cgroup.remove_empty():  # as nearly always: its runs have ended
        return True
    cgroup.kill()
    if not wait_empty(cgroup, patience):
        return False
    with suppress(KernelError):
        cgroup.remove()
    return not cgroup.exists()
