"""A supervisor that dies without a word: everything it made is found and removed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from console import Console, Foreground
from leaks import Snapshot

pytestmark = pytest.mark.root


def fleet_file(console: Console, rootfs: Path) -> Path:
    """Two containers with a network, a published port, a named volume and a writable layer."""
    return console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{rootfs}"
command = ["sh", "-c", "echo page > /site/index.html; exec httpd -f -p 80 -h /site"]
volumes = ["site:/site"]
ports = ["18080:80"]
health = {{ tcp = 80 }}
[containers.worker]
image = "{rootfs}"
command = ["sh", "-c", "touch /written; echo worker is up; exec sleep 1000"]
depends_on = {{ web = "healthy" }}
[volumes.site]
""",
    )


def killed(console: Console, fleet: Path) -> Foreground:
    """A supervisor that was killed with everything up, and so left everything behind."""
    running = console.start(fleet)
    running.wait_for("worker is up")
    running.send(signal.SIGKILL)
    assert running.ended() == -signal.SIGKILL
    return running


def test_down_sweeps_what_a_killed_supervisor_left(console: Console, rootfs: Path) -> None:
    """After `anchor down` no cgroup, link, table, namespace, mount or directory is left."""
    fleet = fleet_file(console, rootfs)
    before = Snapshot.take(console.run_dir, console.data_dir)
    killed(console, fleet)
    left = Snapshot.take(console.run_dir, console.data_dir).since(before)
    kinds = {thing.split()[0] for thing in left}
    assert {"cgroup", "link", "nft", "namespace", "run", "writable"} <= kinds
    said = console.down(fleet)
    assert "was not running" in said.out


@pytest.mark.native
def test_the_next_start_sweeps_first(console: Console, rootfs: Path) -> None:
    """A new supervisor of the same fleet is not hindered by its predecessor's remains."""
    fleet = fleet_file(console, rootfs)
    killed(console, fleet)
    running = console.start(fleet)
    running.wait_for("worker is up")
    assert {row["state"] for row in console.rows(fleet).values()} == {"running"}
    running.send(signal.SIGTERM)
    assert running.ended() == 0


@pytest.mark.native
def test_down_twice_and_down_of_nothing_are_fine(console: Console, rootfs: Path) -> None:
    """`anchor down` brings about a state, so asking again changes nothing."""
    fleet = fleet_file(console, rootfs)
    console.up(fleet)
    assert "is down" in console.down(fleet).out
    assert "was not running" in console.down(fleet).out
