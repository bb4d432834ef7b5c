"""Files made in another's name, without losing a power."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.creator import change_owner, creating_as
from anchor_supervisor.kernel.namespaces import IdRange, create_sandbox

pytestmark = pytest.mark.root

OWNER = 700_000


def effective_powers() -> str:
    """CapEff of this thread."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("CapEff"))


def test_what_is_made_belongs_to_the_owner_at_once(data_dir: Path) -> None:
    """A file, a directory, a link: never root's for a moment; then all is as before."""
    powers = effective_powers()
    with creating_as(OWNER):
        assert effective_powers() == powers
        (data_dir / "file").touch()
        (data_dir / "directory").mkdir()
        (data_dir / "link").symlink_to("nowhere")
    (data_dir / "later").touch()
    for name in ("file", "directory", "link"):
        status = (data_dir / name).lstat()
        assert (status.st_uid, status.st_gid) == (OWNER, OWNER)
    assert (data_dir / "later").stat().st_uid == 0
    assert effective_powers() == powers


def test_only_a_mapped_owner_can_make_files_through_an_idmap(data_dir: Path) -> None:
    """Root has no number there (EOVERFLOW); the container's root has, and it is 0 on the disk."""
    sandbox = create_sandbox(IdRange(OWNER), network=False)
    clone = mount.clone_tree(data_dir, idmap=sandbox.user)
    try:
        with pytest.raises(OSError, match="too large"):
            os.mkdir("by-root", dir_fd=clone)
        with creating_as(OWNER):
            os.mkdir("by-owner", dir_fd=clone)
    finally:
        os.close(clone)
        sandbox.close()
    assert (data_dir / "by-owner").stat().st_uid == 0
    assert not (data_dir / "by-root").exists()


def test_an_error_inside_changes_nothing_outside(data_dir: Path) -> None:
    """The block may raise: this thread is itself again."""
    with pytest.raises(RuntimeError), creating_as(OWNER):
        raise RuntimeError
    (data_dir / "file").touch()
    assert (data_dir / "file").stat().st_uid == 0


def test_a_link_is_given_away_itself(data_dir: Path) -> None:
    """By an O_PATH descriptor, never what it leads to."""
    (data_dir / "file").touch()
    (data_dir / "link").symlink_to("file")
    handle = os.open(data_dir / "link", os.O_PATH | os.O_NOFOLLOW)
    change_owner(handle, 1, 2)
    os.close(handle)
    status = (data_dir / "link").lstat()
    assert (status.st_uid, status.st_gid) == (1, 2)
    assert (data_dir / "file").stat().st_uid == 0
