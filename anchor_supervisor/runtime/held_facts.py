"""What this host holds for an instance, and what a process beside its own must be like."""

from __future__ import annotations

from anchor_supervisor.control.shapes import ExecContext
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.recipe import container_powers
from anchor_supervisor.runtime.run import HostRun


def exec_facts(run: HostRun) -> ExecContext:
    """What a new process beside this run's own must be like."""
    process = run.process
    powers = container_powers(run.holdings.container)
    return ExecContext(
        name=str(run.holdings.instance),
        pid=run.pid,
        cgroup=str(run.holdings.cgroup.path),
        environment=[f"{key}={value}" for key, value in process.environment.items()],
        uid=process.uid,
        gid=process.gid,
        groups=list(process.groups),
        capabilities=powers.bounding,
        working_dir=process.working_dir,
        no_new_privileges=powers.no_new_privileges,
    )


def held_facts(holdings: Holdings) -> dict[str, object]:
    """What outlives a run, for `inspect`."""
    return {
        "cgroup": str(holdings.cgroup.path),
        "writable_layer": str(holdings.writable),
        "run_directory": str(holdings.directory),
        "hostname": holdings.hostname,
        "first_id": holdings.ids.first if holdings.ids else None,
        "ids": holdings.ids.count if holdings.ids else None,
    }
