"""Sweeping: whatever a dead supervisor left, at whatever moment it died, is found and removed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.id_ranges import IdRanges
from anchor_supervisor.runtime.limits import fleet_cgroup
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.service import supervise
from anchor_supervisor.runtime.sweep import sweep_fleet
from anchor_supervisor.runtime.terms import Options
from leaks import Snapshot, assert_nothing_left
from real_fleet import Workshop
from waiting import SLOWNESS, eventually

pytestmark = pytest.mark.root

REPETITIONS: Final = 20
LONGEST: Final = 0.3 * SLOWNESS  # seconds; by then such a fleet is up


def big_fleet(workshop: Workshop) -> Fleet:
    """A fleet with something of everything that can be left behind."""
    return workshop.file(
        *("[containers.web]", 'image = "ROOTFS"', 'command = ["sleep", "1000"]'),
        *("replicas = 2", 'ports = ["127.0.0.1:28477:80"]', 'volumes = ["site:/site"]'),
        *('health = { exec = ["true"], interval = "10ms" }', "[volumes.site]"),
        *("[containers.db]", 'image = "ROOTFS"', 'command = ["sleep", "1000"]', 'root = "copy"'),
        *('user_namespace = "host"', 'networks = "none"'),
    )


def split_off(fleet: Fleet) -> int:
    """A supervisor of the fleet as a child of ours, without a word of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        supervise(fleet, Options(output=False, quiet=True))
    finally:
        os._exit(0)


def end(pid: int, number: signal.Signals) -> int:
    """End a supervisor; its exit code."""
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_supervisor_may_die_at_any_moment(workshop: Workshop) -> None:
    """SIGKILL at twenty moments of a start: after each a sweep leaves nothing at all."""
    fleet = big_fleet(workshop)
    chance = random.Random("a supervisor dies")
    before = Snapshot.take(workshop.run_dir, workshop.data_dir)
    swept = []
    for _ in range(REPETITIONS):
        pid = split_off(fleet)
        time.sleep(chance.uniform(0.0, LONGEST))  # the moment is the test's subject, no wait
        end(pid, signal.SIGKILL)
        swept.append(len(sweep_fleet(fleet.name, volumes=True)))
        assert not fleet_cgroup(places.fleet_id(fleet.name)).exists()
        assert not places.fleet_run_dir(fleet.name).exists()
        assert not any((workshop.data_dir / "fleets").glob("*"))
    assert_nothing_left(before, workshop.run_dir, workshop.data_dir)
    assert max(swept) > 5, "some of them died with everything up"


def test_the_next_supervisor_sweeps_by_itself(workshop: Workshop) -> None:
    """It finds the remains of the last one, removes them, and runs."""
    fleet = big_fleet(workshop)
    pid = split_off(fleet)
    socket = places.control_socket(fleet.name)
    eventually(socket.exists, what="the first supervisor listens")
    end(pid, signal.SIGKILL)
    socket.unlink()
    pid = split_off(fleet)
    eventually(socket.exists, what="the second supervisor listens")
    assert end(pid, signal.SIGTERM) == 0
    assert not places.fleet_run_dir(fleet.name).exists()


def test_nothing_to_sweep_is_no_error(workshop: Workshop) -> None:
    """And says that there was nothing; twice is allowed."""
    assert sweep_fleet("shop", volumes=True) == []
    assert sweep_fleet("shop", volumes=False) == []
    assert list(workshop.run_dir.iterdir()) == []


def test_a_running_fleet_is_not_swept(workshop: Workshop) -> None:
    """While somebody holds the lock, nothing of the fleet is touched."""
    cgroup = fleet_cgroup(places.fleet_id("shop"))
    with fleet_lock(places.fleet_run_dir("shop"), "shop"):
        cgroup.create()
        with pytest.raises(HostError, match="already running"):
            sweep_fleet("shop", volumes=True)
        assert cgroup.exists()
    assert sweep_fleet("shop", volumes=False) == [f"cgroup {cgroup.path}"]


def test_volumes_outlive_a_sweep_unless_asked(workshop: Workshop) -> None:
    """Named volumes hold what people care about."""
    volume = workshop.data_dir / "volumes" / "shop" / "site"
    volume.mkdir(parents=True)
    (volume / "page").write_text("dear to somebody")
    left_behind(workshop, "shop")
    sweep_fleet("shop", volumes=False)
    assert (volume / "page").exists()
    assert sweep_fleet("shop", volumes=True) in ([], ["volume site"])
    assert not volume.exists()


def test_other_fleets_are_left_alone(workshop: Workshop) -> None:
    """Ranges of ids, layers and run files of another fleet stay where they are."""
    theirs = left_behind(workshop, "other")
    left_behind(workshop, "shop")
    removed = sweep_fleet("shop", volumes=True)
    assert any("ranges of user ids" in words for words in removed)
    assert all(path.exists() for path in theirs)
    sweep_fleet("other", volumes=True)
    assert not any(path.exists() for path in theirs)


def left_behind(workshop: Workshop, name: str) -> list[Path]:
    """What a supervisor of this fleet could have left in the directories."""
    identity = places.fleet_id(name)
    writable = workshop.data_dir / "fleets" / identity / "web.1"
    writable.mkdir(parents=True)
    run = places.fleet_run_dir(name) / "web.1"
    run.mkdir(parents=True)
    ids = IdRanges(workshop.run_dir / "ids", identity).take("web.1")
    return [writable, run, workshop.run_dir / "ids" / str(ids.first)]
