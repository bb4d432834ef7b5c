"""The corner that peers are kept in: what it hides, and that it is empty afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anchor_program import ROOT
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from peers.corner import (
    HIDDEN,
    Corner,
    command_line,
    control_groups,
    mounted_beneath,
    processes,
    remove_group,
)

HYBRID = """\
24 30 0:21 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
26 24 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
27 24 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
PURE = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
OLD = "25 24 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def test_control_groups_of_every_machine() -> None:
    """Both versions, the new one, the old one; and none."""
    top = Path("/sys/fs/cgroup")
    assert control_groups(HYBRID) == (
        (top / "cpu", top / "systemd", top / "unified"),
        top / "unified",
        True,
    )
    assert control_groups(PURE) == ((top,), top, False)
    assert control_groups(OLD) == ((top / "cpu",), None, False)
    assert control_groups("") == ((), None, False)


def test_a_group_is_named_from_the_top(place: Corner) -> None:
    """As engines want it."""
    assert place.group == "/anchor-bench-7"


def test_processes_are_the_others() -> None:
    """By what they were started with; one that has ended has no words."""
    with subprocess.Popen(["sleep", "30"]) as process:
        assert process.pid in processes()
        process.kill()
        process.wait()
        assert command_line(process.pid) == ""
    assert "pytest" in command_line(os.getpid())


def test_mounts_are_found_by_their_places() -> None:
    """At a directory and beneath it, not beside it."""
    assert "/proc" in mounted_beneath(Path("/proc"))
    assert mounted_beneath(Path("/pro")) == []


@pytest.mark.root
def test_a_group_goes_with_what_is_in_it() -> None:
    """And with the groups beneath; one that is not there is gone already."""
    group = Cgroup(find_mount() / "anchor-bench-test")
    group.create()
    group.child("deep").create()
    with subprocess.Popen(["sleep", "30"]) as process:
        group.child("deep").write("cgroup.procs", str(process.pid))
        remove_group(group)
        assert process.wait() != 0
    assert not group.exists()
    remove_group(group)


SCRIPT = """\
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, {bench!r})
from anchor_supervisor.kernel.mount import mount_on, private_mount_namespace
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from measure import own_directories
from peers.corner import HIDDEN, corner

private_mount_namespace()
home = os.readlink("/proc/self/ns/net")
with own_directories() as directory, corner(directory) as place:
    assert os.readlink("/proc/self/ns/net") != home
    assert sorted(os.listdir("/proc/sys/net/ipv4/conf")) == ["all", "default", "lo"]
    for hidden in HIDDEN[1:]:
        Path(hidden, "left").touch()
    (directory / "mounted").mkdir()
    mount_on(str(directory / "mounted"), "tmpfs", "")
    with place.inside_group():
        left = subprocess.Popen(["unshare", "--net", "sleep", "61"])
    daemon = subprocess.Popen(["sleep", "62"], start_new_session=True)
    place.tidy.callback(print, "tidied", flush=True)
    print(place.token, directory, left.pid, daemon.pid, flush=True)
    {end}
"""


def in_a_corner(end: str) -> subprocess.CompletedProcess[str]:
    """Leave something of everything in a corner, whose end is this."""
    script = SCRIPT.format(bench=str(ROOT / "bench"), end=end)
    return subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


@pytest.mark.root
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("pass", ""),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("os.kill(os.getpid(), 2)", "KeyboardInterrupt"),
    ],
)
def test_nothing_is_left_whatever_happens(end: str, said: str) -> None:
    """No process, group, mount or file, in a corner that is left in good order or not."""
    there = {hidden for hidden in HIDDEN if Path(hidden).exists()}
    done = in_a_corner(end)
    assert said in done.stderr
    words, tidied = done.stdout.splitlines()
    token, directory, left, daemon = words.split()
    assert tidied == "tidied"
    assert not command_line(int(left)).startswith("sleep 61")
    assert not command_line(int(daemon)).startswith("sleep 62")
    assert not Path(directory).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{token}"))
    assert not Path("/sys/fs/cgroup", token).exists()
    assert {hidden for hidden in HIDDEN if Path(hidden).exists()} == there
    assert not [hidden for hidden in there if Path(hidden, "left").exists()]
