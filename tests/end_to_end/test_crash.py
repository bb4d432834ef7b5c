"""A supervisor that dies without a word: everything it made is found and removed."""

from __future__ import annotations

import signal
import tarfile
from pathlib import Path

import pytest

from console import Console, Foreground
from leaks import Snapshot
from waiting import eventually

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


@pytest.mark.native
def test_down_without_a_name_sweeps_every_dead_fleet(console: Console, rootfs: Path) -> None:
    """What nobody can name any more is found: the fleets of two killed `anchor run`."""
    for number in (1, 2):
        running = console.start_anchor(
            *("run", "--name", f"lost-{number}", "-i", rootfs, "sh", "-c"),
            "echo it is up; exec sleep 1000",
        )
        running.wait_for("it is up")
        running.send(signal.SIGKILL)
        running.ended()
    said = console.anchor("down")
    assert said.code == 0
    assert "`lost-1`, `lost-2` were not running" in said.out


@pytest.mark.native
def test_a_run_sweeps_what_killed_runs_left(console: Console, rootfs: Path) -> None:
    """A nameless run that was killed is ended by the next one."""
    lost = console.start_anchor("run", "-i", rootfs, "sh", "-c", "echo up; exec sleep 1000")
    lost.wait_for("up")
    lost.send(signal.SIGKILL)
    lost.ended()
    assert console.anchor("run", "-i", rootfs, "true").code == 0
    assert not list(console.run_dir.glob("run-*"))


@pytest.mark.native
def test_down_ends_a_fleet_that_is_still_being_prepared(console: Console, tmp_path: Path) -> None:
    """Before its socket is there a supervisor is told by a signal: here, while it unpacks."""
    archive = tmp_path / "large.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(3000):
            tar.addfile(tarfile.TarInfo(f"file-{number}"))
    fleet = console.write("slow.toml", f'[containers.a]\nimage = "{archive}"\ncommand = "x"\n')
    running = console.start(fleet)
    lock = console.run_dir / "slow" / "lock"
    eventually(lambda: lock.exists() and lock.read_text(), what="the lock is held")
    assert console.down(fleet).code == 0
    assert running.ended() in {0, 2}  # 2: it was quick, and there is no program `x`
