"""Limits as files: the arithmetic everywhere, the enforcement where the kernel has controllers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import Limits
from anchor_supervisor.kernel import cgroup, cgroup_limits, pidfd, spawn, steps
from container_box import wait

EVERY = Limits(
    memory=64 << 20,
    memory_high=32 << 20,
    swap=0,
    cpus=0.5,
    cpu_weight=50,
    cpuset="0",
    pids=32,
    io_weight=50,
)


def test_every_limit_has_its_file_and_value() -> None:
    """Values are written as cgroup-v2.rst has them."""
    written = {item.file: item.value for item in cgroup_limits.settings(EVERY)}
    assert written == {
        "memory.max": "67108864",
        "memory.high": "33554432",
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "cpu.weight": "50",
        "cpuset.cpus": "0",
        "pids.max": "32",
        "io.weight": "50",
    }


def test_a_very_small_share_of_a_processor_is_the_least_the_kernel_takes() -> None:
    """A quota below a millisecond would be EINVAL."""
    (item,) = cgroup_limits.settings(Limits(cpus=0.001, pids=None))
    assert item.value == "1000 100000"


def test_no_limit_writes_nothing() -> None:
    """None is no limit, and needs no controller."""
    assert cgroup_limits.settings(Limits(pids=None)) == ()
    assert cgroup_limits.controllers_for(Limits(pids=None)) == frozenset()


def test_what_cannot_be_enforced_is_known_before() -> None:
    """By controller, in the words of the fleet file."""
    assert cgroup_limits.controllers_for(EVERY) == {"memory", "cpu", "cpuset", "pids", "io"}
    assert cgroup_limits.unenforceable(EVERY, ["memory", "io"]) == (
        "cpus",
        "cpu_weight",
        "cpuset",
        "pids",
    )


def test_what_has_no_file_is_told_and_the_rest_is_written(tmp_path: Path) -> None:
    """A kernel without swap accounting still enforces the rest."""
    group = cgroup.Cgroup(tmp_path)
    for file in ("memory.max", "pids.max", "memory.oom.group"):
        (tmp_path / file).touch()
    limits = Limits(memory=4096, swap=0, pids=7)
    assert cgroup_limits.missing(limits, group) == ("swap",)
    assert cgroup_limits.apply_limits(limits, group) == ("swap",)
    assert group.read("memory.max") == "4096"
    assert group.read("pids.max") == "7"
    assert group.read("memory.oom.group") == "1"


def test_what_a_new_group_is_told_is_what_the_steps_would_write() -> None:
    """Those that can be enforced, and the kill of the whole where memory is counted at all."""
    every = frozenset(item.key for item in cgroup_limits.settings(EVERY))
    assert cgroup_limits.values(EVERY, every) == (
        ("memory.oom.group", "1"),
        *((item.file, item.value) for item in cgroup_limits.settings(EVERY)),
    )
    assert cgroup_limits.values(EVERY, frozenset({"pids"})) == (("pids.max", "32"),)
    assert cgroup_limits.values(EVERY, frozenset()) == ()


def test_what_is_no_limit_any_more_is_lifted(tmp_path: Path) -> None:
    """Every file is as in a new group, but for those of limits that are kept or have no file."""
    group = cgroup.Cgroup(tmp_path)
    for file in cgroup_limits.DEFAULTS:
        (tmp_path / file).write_text("7\n")
    (tmp_path / "io.weight").unlink()
    (tmp_path / "cpu.weight").write_text("100\n")
    cgroup_limits.lift_limits(Limits(pids=7), group)
    assert {file: group.read(file) for file in cgroup_limits.DEFAULTS} == {
        "memory.max": "max",
        "memory.high": "max",
        "memory.swap.max": "max",
        "cpu.max": "max 100000",
        "cpu.weight": "100",
        "cpuset.cpus": "",
        "pids.max": "7",
        "io.weight": None,
    }


def test_one_refusal_does_not_keep_the_others(tmp_path: Path) -> None:
    """The first is told once everything else is written."""
    group = cgroup.Cgroup(tmp_path)
    (tmp_path / "memory.max").mkdir()  # EISDIR, as the kernel would refuse a value
    (tmp_path / "pids.max").touch()
    with pytest.raises(KernelError, match=r"write `4096` to `.*memory\.max`"):
        cgroup_limits.apply_limits(Limits(memory=4096, pids=7), group)
    assert group.read("pids.max") == "7"


@pytest.mark.root
def test_a_controller_that_is_not_there_is_not_enabled(group: cgroup.Cgroup) -> None:
    """Nothing is raised: what could be enabled is the answer."""
    mount = cgroup.find_mount()
    assert cgroup_limits.enable_controllers(mount, group, ["nosuch"]) == frozenset()


@pytest.mark.vm
def test_every_limit_is_enforced(group: cgroup.Cgroup) -> None:
    """The files hold what was asked, as the kernel gives it back."""
    mount = cgroup.find_mount()
    needed = cgroup_limits.controllers_for(EVERY)
    assert cgroup_limits.enable_controllers(mount, group, needed) == needed
    inner = group.child("inner")
    inner.create()
    absent = cgroup_limits.apply_limits(EVERY, inner)
    assert set(absent) <= {"io_weight", "swap"}
    for item in cgroup_limits.settings(EVERY):
        if item.key not in absent and item.key != "io_weight":
            assert inner.read(item.file) == item.value
    with pytest.raises(KernelError, match=r"cpuset\.cpus"):
        cgroup_limits.apply_limits(Limits(cpuset="4000"), inner)


@pytest.mark.vm
def test_a_child_born_beyond_its_memory_never_takes_the_supervisor_along(
    group: cgroup.Cgroup,
) -> None:
    """While a child shares our memory the OOM killer must pass it over; vfork is how it knows."""
    mount = cgroup.find_mount()
    cgroup_limits.enable_controllers(mount, group, ["memory"])
    inner = group.child("inner")
    inner.create()
    cgroup_limits.apply_limits(Limits(memory=4096, pids=None), inner)
    directory = inner.open()
    plan: list[steps.Step] = [
        steps.CloneAgain(0, "process"),
        *(steps.OpenFilesystem(steps.Slot(number), "tmpfs") for number in range(8)),
        steps.Execute(("/bin/sleep",), ("sleep", "1000"), ()),
    ]
    for share_memory in (True, False):
        try:
            child = spawn.spawn(plan, cgroup=directory, share_memory=share_memory)
        except spawn.SpawnError as error:
            # Refused its memory, killed for it, or still begging at the deadline, on a slow
            # processor: the killer passes over whoever shares our memory, so the child retries.
            ends = (errno.ENOMEM, errno.ECANCELED, errno.ETIMEDOUT)
            assert error.errno in ends  # noqa: PT017 - every way of dying is right
        else:
            pidfd.send_signal(child.pidfd, 9)
            assert wait(child) == pidfd.Ending(signal=9)
    os.close(directory)
