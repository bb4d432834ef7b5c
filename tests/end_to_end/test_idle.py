"""A fleet that runs and is left alone leaves the machine alone: nothing of it wakes up."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from anchor_supervisor.control.client import Client
from console import Console
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]

CONTAINERS = 100
QUIET = 10.0  # seconds of looking
SETTLED = 30.0  # seconds until the last worker thread has waited in vain (trio's take ten)


def switches(pids: list[int]) -> dict[str, str]:
    """How often each thread of these processes has been switched to, by its name and number."""
    found = {}
    for pid in pids:
        for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
            lines = (task / "status").read_text().splitlines()
            counts = [line.split()[1] for line in lines if "ctxt_switches" in line]
            name = (task / "comm").read_text().strip()
            found[f"{name} {task.name}"] = " ".join(counts)
    return found


def is_quiet(supervisor: int) -> bool:
    """Whether the worker threads of the start have gone."""
    return not any("Trio thread" in name for name in switches([supervisor]))


def test_a_fleet_of_a_hundred_wakes_nobody(console: Console, rootfs: Path) -> None:
    """Not the supervisor, not one of its threads, nor the init of any container, in ten seconds."""
    fleet = console.write(
        "quiet.toml",
        f'[containers.web]\nimage = "{rootfs}"\ncommand = ["sleep", "100000"]\n'
        f'networks = "none"\nreplicas = {CONTAINERS}\nstop = {{ grace = "0s" }}\n',
    )
    console.up(fleet)
    supervisor = int(
        Client("quiet", console.run_dir / "quiet/control.sock").get("/v1/fleet")["pid"]
    )
    inits = [row["pid"] for row in console.rows(fleet).values()]
    assert len(inits) == CONTAINERS
    eventually(lambda: is_quiet(supervisor), what="the start is over", deadline=SETTLED)
    ends = os.pidfd_open(supervisor)
    try:
        before = switches([supervisor, *inits])
        assert select.select([ends], [], [], QUIET)[0] == []  # it ends only if something is wrong
        assert switches([supervisor, *inits]) == before
    finally:
        os.close(ends)
    console.down(fleet)
