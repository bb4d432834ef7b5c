"""Real containers and groups for the tests of the kernel room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.kernel import cgroup
from container_box import BUSYBOX, Box


@pytest.fixture
def root_directory(data_dir: Path) -> Path:
    """A root with busybox in it and nothing else."""
    if not BUSYBOX.exists():
        pytest.skip("needs busybox: apt-get install busybox-static")
    root = data_dir / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in ("sh", "cat", "ls", "id", "sleep", "grep", "readlink", "true", "mount", "echo"):
        (root / "bin" / applet).symlink_to("busybox")
    return root


@pytest.fixture
def box(root_directory: Path) -> Iterator[Box]:
    """A container with a user namespace of its own."""
    made = Box(root_directory)
    yield made
    made.close()


@pytest.fixture
def host_box(root_directory: Path) -> Iterator[Box]:
    """A container whose root is the host's root."""
    made = Box(root_directory, user=False)
    yield made
    made.close()


@pytest.fixture
def group(run_dir: Path) -> Iterator[cgroup.Cgroup]:
    """An empty group of the test's own."""
    made = cgroup.Cgroup(cgroup.find_mount()).child(f"anchor-test-{run_dir.parent.name}")
    made.create()
    yield made
    made.remove()
