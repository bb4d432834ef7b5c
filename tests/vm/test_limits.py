"""What the kernel of the test machine enforces: the ground that the product's limits stand on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm

_EAT = "import mmap; m = mmap.mmap(-1, 64 << 20); m.write(bytes(64 << 20))"


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup with the memory controller, empty again at the end."""
    top = Path("/sys/fs/cgroup")
    (top / "cgroup.subtree_control").write_text("+memory")
    made = top / f"anchor-test-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


def test_a_process_over_its_memory_limit_is_killed(cgroup: Path) -> None:
    """The out-of-memory killer acts inside the cgroup, and memory.events counts it."""
    (cgroup / "memory.max").write_text("32M")
    swap = cgroup / "memory.swap.max"
    if swap.exists():
        swap.write_text("0")
    join_and_eat = f'echo 0 > {cgroup}/cgroup.procs; exec "$0" -c "{_EAT}"'
    ended = subprocess.run(["/bin/sh", "-c", join_and_eat, sys.executable], check=False)
    events = dict(line.split() for line in (cgroup / "memory.events").read_text().splitlines())
    assert ended.returncode == -9
    assert int(events["oom_kill"]) == 1
