"""The look from outside sees each kind of thing that can be left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leaks import Snapshot, assert_nothing_left, cgroup2_mount
from waiting import eventually

# Each looks at the whole machine, so none may run beside other tests that make containers.
pytestmark = pytest.mark.root


def test_a_file_in_the_run_directory_is_a_leak(run_dir: Path, data_dir: Path) -> None:
    """Whatever a fleet leaves in its run directory, or as a writable layer, is named."""
    before = Snapshot.take(run_dir, data_dir)
    (run_dir / "shop").mkdir()
    (data_dir / "fleets/shop").mkdir(parents=True)
    (data_dir / "volumes/kept").mkdir(parents=True)
    assert Snapshot.take(run_dir, data_dir).since(before) == {
        f"run directory entry {run_dir}/shop",
        f"writable layer {data_dir}/fleets/shop",
    }
    (run_dir / "shop").rmdir()
    (data_dir / "fleets/shop").rmdir()
    assert_nothing_left(before, run_dir, data_dir)


def test_a_program_with_our_run_directory_is_a_leak(run_dir: Path) -> None:
    """A process that was told to use the run directory counts until it is gone."""
    before = Snapshot.take(run_dir)
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, env={"ANCHOR_RUN_DIR": str(run_dir)}
    ) as cat:
        seen = eventually(lambda: Snapshot.take(run_dir).since(before), what="cat is seen")
        assert seen == {f"process {cat.pid} (/bin/cat)"}
    assert_nothing_left(before, run_dir)


def test_a_cgroup_is_a_leak() -> None:
    """An empty cgroup counts until it is removed."""
    top = cgroup2_mount()
    assert top is not None
    before = Snapshot.take()
    left = top / f"anchor-test-{os.getpid()}"
    left.mkdir()
    try:
        assert f"cgroup {left}" in Snapshot.take().since(before)
    finally:
        left.rmdir()
    assert f"cgroup {left}" not in Snapshot.take().since(before)


def test_namespaces_links_mounts_and_tables_are_leaks() -> None:
    """In a machine of its own, so that nothing real is touched: each kind is seen and named."""
    script = """
import subprocess
from leaks import Snapshot
before = Snapshot.take()
subprocess.run(["ip", "link", "add", "left0", "type", "veth", "peer", "left1"], check=True)
subprocess.run(["nft", "add", "table", "inet", "left"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "left", "/mnt"], check=True)
print(*sorted(Snapshot.take().since(before)), sep="\\n")
"""
    seen = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert seen == [
        "link left0",
        "link left1",
        "mount of tmpfs on /mnt (pid self)",
        "nft table left",
    ]


def test_eventually_says_what_it_saw_last() -> None:
    """A deadline that passes names the property and the last look."""
    with pytest.raises(AssertionError, match="still not: it is two; last seen: 1"):
        eventually(lambda: 1, lambda seen: seen == 2, what="it is two", deadline=0.0)
