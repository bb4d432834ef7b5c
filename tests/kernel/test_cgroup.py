"""Control groups as directories: made, killed, frozen, removed."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import cgroup, cgroup_watch, pidfd, spawn, steps
from container_box import wait
from real_fleet import open_descriptors

PURE = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 24 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "33 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n"
)
ODD = r"34 24 0:30 / /mnt/a\040b\134c rw - cgroup2 none rw" + "\n"


@pytest.mark.parametrize(
    ("table", "place"),
    [(PURE, "/sys/fs/cgroup"), (HYBRID, "/sys/fs/cgroup/unified"), (ODD, "/mnt/a b\\c")],
)
def test_the_mount_is_found_where_it_is(table: str, place: str) -> None:
    """Pure, hybrid, and where the path holds what mountinfo escapes."""
    assert cgroup.find_mount(table) == Path(place)


def test_a_machine_without_cgroup2_is_told_the_remedy() -> None:
    """The hint is a command."""
    with pytest.raises(HostError, match="cgroup2 is not mounted") as raised:
        cgroup.find_mount("32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
    assert raised.value.hint == "mount -t cgroup2 none /sys/fs/cgroup"


def test_counts_are_read_and_absent_files_are_none(tmp_path: Path) -> None:
    """A kernel without a file has nothing to say, which is no error."""
    group = cgroup.Cgroup(tmp_path)
    (tmp_path / "memory.events").write_text("low 0\nhigh 2\nmax 3\noom 4\noom_kill 5\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    (tmp_path / "pids.max").write_text("max\n")
    assert group.memory_events() == cgroup.MemoryEvents(high=2, max=3, oom=4, oom_kill=5)
    assert group.memory_peak() == 4096
    assert group.read_number("pids.max") is None
    assert group.read("absent") is None
    assert cgroup.Cgroup(tmp_path / "absent").memory_events() == cgroup.MemoryEvents()


def _sleeper(group: cgroup.Cgroup) -> spawn.Child:
    directory = group.open()
    try:
        execute = steps.Execute(("/bin/sleep",), ("sleep", "1000"), ())
        return spawn.spawn([execute], cgroup=directory)
    finally:
        os.close(directory)


@pytest.mark.root
def test_this_process_is_in_a_group() -> None:
    """It is a directory under the mount, and holds us."""
    mine = cgroup.own_group(cgroup.find_mount())
    assert os.getpid() in mine.processes()


@pytest.mark.root
def test_a_group_is_killed_whole_and_the_watch_tells(group: cgroup.Cgroup) -> None:
    """Groups beneath are killed too, and the one descriptor wakes up for each that is watched."""
    inner = group.child("inner")
    inner.create()
    children = [_sleeper(group), _sleeper(inner)]
    with cgroup_watch.CgroupWatch() as watch:
        watch.add(group)
        watch.add(inner)
        assert group.populated()
        assert inner.populated()
        assert not watch.take_changed() - {group, inner}
        group.kill()
        assert [wait(child) for child in children] == [pidfd.Ending(signal=signal.SIGKILL)] * 2
        changed: set[cgroup.Cgroup] = set()
        while group.populated() or changed != {group, inner}:
            assert select.select([watch], [], [], 10)[0]
            changed |= watch.take_changed()
        watch.discard(group)
        watch.discard(inner)
        watch.discard(inner)
        group.remove()
        assert watch.take_changed() == frozenset()
    assert not group.exists()
    group.kill()
    group.create()


@pytest.mark.root
def test_a_group_is_made_with_its_values_at_once(group: cgroup.Cgroup) -> None:
    """One that is there already is refused, and whatever fails nothing is left open."""
    inner = group.child("inner")
    directory = inner.make([("cgroup.max.depth", "3"), ("cgroup.max.descendants", "4")])
    assert Path(f"/proc/self/fd/{directory}").readlink() == inner.path
    os.close(directory)
    assert inner.read("cgroup.max.depth") == "3"
    assert inner.read("cgroup.max.descendants") == "4"
    before = open_descriptors()
    with pytest.raises(KernelError, match=r"make the cgroup .*: File exists"):
        inner.make([])
    with pytest.raises(KernelError, match=r"make the cgroup .*: No such file"):
        inner.child("own").make([("no.such.file", "1")])
    assert open_descriptors() == before


@pytest.mark.root
def test_a_group_is_frozen_and_goes_on(group: cgroup.Cgroup) -> None:
    """Frozen is told when it has happened; a frozen group can be killed."""
    child = _sleeper(group)
    with cgroup_watch.CgroupWatch() as watch:
        watch.add(group)
        group.freeze(frozen=True)
        while not group.frozen():
            assert select.select([watch], [], [], 10)[0]
            watch.take_changed()
        group.freeze(frozen=False)
        assert not group.frozen()
        group.freeze(frozen=True)
    group.kill()
    assert wait(child) == pidfd.Ending(signal=signal.SIGKILL)
    group.freeze(frozen=False)


@pytest.mark.root
def test_errors_name_the_file(group: cgroup.Cgroup) -> None:
    """What was written, where, and why it was refused."""
    with pytest.raises(KernelError, match=r"write `x` to `/.*/cgroup.freeze`: Invalid argument"):
        group.write("cgroup.freeze", "x")
    with pytest.raises(KernelError, match=r"make the cgroup `/.*`: No such file"):
        group.child("a").child("b").create()
    child = _sleeper(group)
    with pytest.raises(KernelError, match=r"remove the cgroup `/.*`: Device or resource busy"):
        group.remove()
    group.kill()
    wait(child)
    group.remove()
    group.remove()
    with pytest.raises(KernelError, match=r"open the cgroup `/.*`: No such file"):
        group.open()
    group.create()
