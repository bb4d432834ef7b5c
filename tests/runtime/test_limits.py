"""The fleet's cgroups: limits that hold or are refused, what was killed for memory, and the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.model import Limits, LimitsMode
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from anchor_supervisor.runtime.limits import (
    apply_limits,
    end_cgroup,
    enforced_limits,
    fleet_cgroup,
    make_cgroup,
    oom_kills,
    oom_words,
)
from real_fleet import Workshop


@pytest.fixture
def pretended(tmp_path: Path) -> Cgroup:
    """A directory with the files of a group that has a memory controller."""
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n")
    (tmp_path / "memory.max").write_text("67108864\n")
    (tmp_path / "memory.peak").write_text("67104768\n")
    return Cgroup(tmp_path)


def test_a_kill_for_memory_is_told_with_its_figures(pretended: Cgroup) -> None:
    """Whatever the kernel can say."""
    assert oom_kills(pretended) == 2
    assert oom_words(pretended).startswith("oom (limit 64M, peak 6")
    (pretended.path / "memory.peak").unlink()
    assert oom_words(pretended) == "oom (limit 64M)"
    (pretended.path / "memory.max").write_text("max\n")
    assert oom_words(pretended) == "oom"


def test_without_the_controller_nothing_was_killed(tmp_path: Path) -> None:
    """A group without memory.events has had no such kills."""
    assert oom_kills(Cgroup(tmp_path)) == 0


def test_a_group_that_was_used_before_is_used_as_it_is(pretended: Cgroup) -> None:
    """It could not be removed: what was killed in it until now is nobody's of the next run."""
    group, kills = make_cgroup(pretended, Limits(), LimitsMode.STRICT, frozenset())
    assert Path(f"/proc/self/fd/{group}").readlink() == pretended.path
    os.close(group)
    assert kills == 2


def test_a_limit_that_cannot_be_enforced_is_told_however_a_group_is_made(tmp_path: Path) -> None:
    """Under `strict` nothing is made at once that cannot hold."""
    declared = Limits(memory=64 << 20, declared=frozenset({"memory"}))
    group = Cgroup(tmp_path / "new")
    with pytest.raises(HostError, match="cannot enforce the limit `memory`"):
        make_cgroup(group, declared, LimitsMode.STRICT, frozenset())
    descriptor, _ = make_cgroup(group, declared, LimitsMode.BEST_EFFORT, frozenset())
    os.close(descriptor)


def test_a_declared_limit_without_a_file_is_refused_under_strict(tmp_path: Path) -> None:
    """Defaults are best-effort always; `best-effort` makes all of them so."""
    group = Cgroup(tmp_path)
    declared = Limits(memory=64 << 20, declared=frozenset({"memory"}))
    with pytest.raises(HostError, match="cannot enforce the limit `memory`") as caught:
        apply_limits(group, declared, LimitsMode.STRICT)
    assert "best-effort" in (caught.value.hint or "")
    apply_limits(group, declared, LimitsMode.BEST_EFFORT)
    apply_limits(group, Limits(), LimitsMode.STRICT)


def test_only_what_is_enabled_is_enforced(tmp_path: Path) -> None:
    """By the controllers that the fleet's group has given to its children."""
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    assert enforced_limits(Cgroup(tmp_path)) == {"memory", "memory_high", "swap", "pids"}
    (tmp_path / "cgroup.subtree_control").write_text("\n")
    assert enforced_limits(Cgroup(tmp_path)) == frozenset()


@pytest.fixture
def group(workshop: Workshop) -> Iterator[Cgroup]:
    """A real group with one beneath it."""
    made = Cgroup(find_mount() / f"anchor-test-{workshop.run_dir.parent.name}")
    made.create()
    made.child("inner").create()
    yield made
    with suppress(KernelError):
        made.kill()
        made.remove()


@pytest.mark.root
def test_the_end_of_a_group_is_the_end_of_all_in_it(group: Cgroup) -> None:
    """Processes in it and beneath it are dead and the directories gone; twice is allowed."""
    sleepers = [subprocess.Popen(["sleep", "1000"]) for _ in range(3)]
    for sleeper, place in zip(sleepers, (group, group, group.child("inner")), strict=True):
        (place.path / "cgroup.procs").write_text(str(sleeper.pid))
    assert end_cgroup(group)
    assert [sleeper.wait() for sleeper in sleepers] == [-9] * 3
    assert not group.exists()
    assert end_cgroup(group)


def test_naming_a_groups_makes_nothing() -> None:
    """The fleet's group is a name until it is made."""
    assert not fleet_cgroup("0000000").exists()
