"""The directories of an unpacking: times that survive what is made in them, and no way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.tree_writer import TreeWriter

pytestmark = [pytest.mark.root, pytest.mark.native]

OLD = 1_000_000_000_123_456_789


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[TreeWriter]:
    fd = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    writer = TreeWriter(fd)
    yield writer
    writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(fd)


def test_a_directory_gets_its_time_when_it_is_left(tree: TreeWriter, tmp_path: Path) -> None:
    """Whatever is made in it, and however often it is come back to."""
    tree.make_directory((b"a",)).mtime_ns = OLD
    tree.enter((b"a", b"b"))
    tree.enter((b"c",))
    assert (tmp_path / "a").stat().st_mtime_ns == OLD
    os.mkdir("x", dir_fd=tree.enter((b"a",)).fd)
    tree.enter(())
    assert (tmp_path / "a").stat().st_mtime_ns == OLD
    os.mkdir("y", dir_fd=tree.enter((b"a",)).fd)
    tree.finish()
    assert (tmp_path / "a").stat().st_mtime_ns == OLD


def test_what_is_entered_is_what_was_named(tree: TreeWriter, tmp_path: Path) -> None:
    """From anywhere to anywhere, by as few steps as there are."""
    places = [(b"a", b"b", b"c"), (b"a", b"x"), (b"a", b"b"), (), (b"b", b"c"), (b"a", b"b", b"c")]
    for place in places:
        there = tmp_path.joinpath(*map(os.fsdecode, place))
        assert os.path.samestat(os.fstat(tree.enter(place).fd), there.stat())


def test_directories_without_an_entry_are_known(tree: TreeWriter, tmp_path: Path) -> None:
    """They are root's and open to everybody, until an entry says otherwise."""
    tree.enter((b"a", b"b"))
    assert tree.implied == {(), (b"a",), (b"a", b"b")}
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755
    tree.make_directory((b"a",))
    tree.make_directory(())
    assert tree.implied == {(b"a", b"b")}


def test_a_guess_inherits_no_group(tree: TreeWriter, tmp_path: Path) -> None:
    """A set-group-id bit on the way changes nothing about who a directory belongs to."""
    level = tree.make_directory((b"a",))
    os.fchown(level.fd, 7, 7)
    os.fchmod(level.fd, 0o2755)
    tree.enter((b"a", b"b"))
    status = (tmp_path / "a/b").stat()
    assert (status.st_gid, status.st_mode & 0o7777) == (0, 0o755)


@pytest.mark.parametrize("target", [".", "..", "nowhere", "/"])
def test_no_link_is_walked(tree: TreeWriter, tmp_path: Path, target: str) -> None:
    """Not even one that stays inside."""
    (tmp_path / "l").symlink_to(target)
    with pytest.raises(ImageError, match="leads through `l`"):
        tree.enter((b"l", b"x"))
    with pytest.raises(NotADirectoryError):
        tree.open_existing((b"l",))


def test_names_do_not_pile_up(tree: TreeWriter) -> None:
    """An archive of nothing but deep names ends before the memory does."""

    def pile(towers: int) -> None:
        for number in range(towers):
            tree.enter((b"%d" % number, *[b"d"] * 500))

    with pytest.raises(ImageError, match="without an entry"):
        pile(20)
