"""Work in a mount namespace of its own: seen by nobody, and gone with its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.apart import in_own_namespace

pytestmark = pytest.mark.root


def look() -> tuple[str, str, int]:
    """Where we are, what is mounted here, and how many descriptors are open."""
    table = Path("/proc/self/mountinfo").read_text()
    return str(Path.cwd()), table, len(os.listdir("/proc/self/fd"))


def test_what_is_attached_there_is_seen_nowhere_else() -> None:
    """The caller's directory, mount table and descriptors are the same during it and after."""
    before = look()

    def work() -> tuple[str, str, int]:
        tree = mount.new_filesystem("tmpfs")
        Path("place").mkdir()
        mount.attach(tree, "place")
        os.close(tree)
        return Path("/proc/thread-self/mountinfo").read_text(), *look()[1:]

    inside, outside, _ = in_own_namespace(work)
    assert " /place " in inside
    assert outside == before[1]
    assert look() == before


def test_a_file_system_made_there_lives_on_as_a_descriptor() -> None:
    """mount(2) has to attach; a clone of it is as detached as any other."""

    def work() -> int:
        Path("whole").mkdir()
        mount.mount_on("whole", "tmpfs", "mode=711", mount.MOUNT_ATTR_NODEV)
        return mount.clone_tree("whole")

    tree = in_own_namespace(work)
    try:
        assert os.fstat(tree).st_mode & 0o777 == 0o711
        Path(f"/proc/self/fd/{tree}/file").touch()
    finally:
        os.close(tree)


def test_an_error_there_is_raised_here() -> None:
    """With its errno and its words."""
    before = look()
    with pytest.raises(KernelError, match="tmpfs"):
        in_own_namespace(lambda: mount.mount_on("missing", "tmpfs", ""))
    assert look() == before
