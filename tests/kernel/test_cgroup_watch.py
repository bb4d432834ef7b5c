"""The one inotify descriptor: what it does when it is used wrongly or told nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import cgroup, cgroup_watch
from waiting import DEADLINE


def test_changes_of_any_watched_file_are_told_once(tmp_path: Path) -> None:
    """Each take gives the groups with news since the last."""
    groups = [cgroup.Cgroup(tmp_path / name) for name in ("a", "b")]
    with cgroup_watch.CgroupWatch() as watch:
        for group in groups:
            group.path.mkdir()
            for file in ("cgroup.events", "memory.events"):
                (group.path / file).write_text("populated 0\n")
                watch.add(group, file)
        assert watch.take_changed() == frozenset()
        (groups[0].path / "memory.events").write_text("oom 1\n")
        assert watch.take_changed() == {groups[0]}
        assert watch.take_changed() == frozenset()
        watch.discard(groups[0], "memory.events")
        (groups[0].path / "memory.events").write_text("oom 2\n")
        (groups[1].path / "cgroup.events").write_text("populated 1\n")
        assert watch.take_changed() == {groups[1]}


def test_a_watched_file_that_goes_is_news(tmp_path: Path) -> None:
    """The last word about a group is that it is gone, and it is told once."""
    group = cgroup.Cgroup(tmp_path)
    (tmp_path / "cgroup.events").write_text("populated 0\n")
    with cgroup_watch.CgroupWatch() as watch:
        watch.add(group)
        (tmp_path / "cgroup.events").unlink()
        assert watch.take_changed() == {group}
        watch.discard(group)
        assert watch.take_changed() == frozenset()


def test_a_group_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    """The error names the file; the watch can be closed twice."""
    with cgroup_watch.CgroupWatch() as watch:
        with pytest.raises(KernelError, match=r"inotify_add_watch `.*/absent/.*`: No such"):
            watch.add(cgroup.Cgroup(tmp_path / "absent"))
        watch.close()
    assert watch.fileno() == -1


def test_nobody_waits_for_a_group_that_is_gone(tmp_path: Path) -> None:
    """It is empty."""
    assert cgroup_watch.wait_empty(cgroup.Cgroup(tmp_path / "absent"), 0.0)


@pytest.mark.root
def test_a_thread_waits_for_one_group_to_be_empty() -> None:
    """Until its last process has ended, or its patience; the same again for a group without one."""
    group = cgroup.Cgroup(cgroup.find_mount() / f"anchor-test-empty-{os.getpid()}")
    group.create()
    try:
        assert cgroup_watch.wait_empty(group, 0.0)
        with subprocess.Popen(["sleep", "1000"]) as sleeper:
            (group.path / "cgroup.procs").write_text(str(sleeper.pid))
            assert not group.remove_empty()
            assert not cgroup_watch.wait_empty(group, 0.05)
            sleeper.kill()
            assert cgroup_watch.wait_empty(group, DEADLINE)
    finally:
        assert group.remove_empty()
    assert group.remove_empty()
