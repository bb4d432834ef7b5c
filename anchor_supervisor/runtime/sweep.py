"""Remove what a dead supervisor left: every kernel object is named after its fleet.

Containers that still run are ended first. What is not there any more is no error, so a sweep may
be repeated, and may itself be killed at any point.
"""

from __future__ import annotations

from pathlib import Path

from anchor_supervisor.errors import HostError
from anchor_supervisor.network.sweep import remove_leftovers
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.runtime.id_ranges import IdRanges
from anchor_supervisor.runtime.limits import end_cgroup, fleet_cgroup
from anchor_supervisor.runtime.lock import fleet_lock


def sweep_fleet(name: str, *, volumes: bool) -> list[str]:
    """Take the fleet's lock and remove everything of it; `volumes`: its named volumes as well.

    Returns what was removed, in words. Raises HostError where a supervisor runs the fleet.
    """
    run = places.fleet_run_dir(name)
    there = run.exists()
    with fleet_lock(run, name):
        removed = sweep_locked(name)
        if volumes:
            removed += remove_volumes(name)
    return removed if removed or there else []


def sweep_locked(name: str) -> list[str]:
    """Remove everything of a fleet whose lock is held, and the lock's directory last."""
    identity = places.fleet_id(name)
    removed = []
    cgroup = fleet_cgroup(identity)
    if cgroup.exists():
        if not end_cgroup(cgroup):
            message = f"a process in `{cgroup.path}` cannot be killed"
            raise HostError(message, hint="it waits for hardware or a network file system: see ps")
        removed.append(f"cgroup {cgroup.path}")
    removed += remove_leftovers(identity)
    writable = places.data_dir() / "fleets" / identity
    if writable.exists():
        remove_writable(writable)
        removed.append(f"writable layers {writable}")
    ranges = IdRanges(places.run_dir() / "ids", identity).release_all()
    if ranges:
        removed.append(f"{ranges} ranges of user ids")
    return removed + _empty_run_directory(places.fleet_run_dir(name))


def _empty_run_directory(run: Path) -> list[str]:
    """Remove what instances left in the run directory; the lock's own file and holder stay."""
    left = [path for path in run.iterdir() if path.name != "lock"]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            remove_writable(path)
        else:
            path.unlink(missing_ok=True)
    return [f"run files {path}" for path in left]


def remove_volumes(name: str) -> list[str]:
    """Remove the fleet's named volumes with their content, and what is known of its schedules."""
    from anchor_supervisor.runtime import last_runs  # trio, for the rare end of a fleet's volumes

    last_runs.forget(name)
    volumes = places.data_dir() / "volumes" / name
    if not volumes.exists():
        return []
    removed = [f"volume {path.name}" for path in sorted(volumes.iterdir())]
    remove_writable(volumes)
    return removed
