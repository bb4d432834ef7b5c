"""Removing what a container wrote: all of it, whatever it is, and nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.removal import remove_writable


def test_a_whole_tree_goes_and_its_neighbours_stay(tmp_path: Path) -> None:
    """Files, links, fifos, sockets and directories of any mode are removed; nothing beside them."""
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/file").write_text("x")
    os.mkfifo(tree / "a/b/fifo")
    (tree / "a/b/locked").mkdir(mode=0)
    (tree / b"\xff\n".decode("utf-8", "surrogateescape")).write_text("x")
    (tmp_path / "neighbour").write_text("precious")
    remove_writable(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["neighbour"]


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    """No symbolic link is followed, at the top or inside."""
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "precious").write_text("x")
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tmp_path / "top").symlink_to(outside)
    remove_writable(tree)
    remove_writable(tmp_path / "top")
    assert (outside / "precious").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


def test_removing_twice_is_removing_once(tmp_path: Path) -> None:
    """A directory that is not there, or whose parent is not, is no error."""
    (tmp_path / "tree").mkdir()
    remove_writable(tmp_path / "tree")
    remove_writable(tmp_path / "tree")
    remove_writable(tmp_path / "no" / "tree")
    assert list(tmp_path.iterdir()) == []


def test_depth_costs_neither_descriptors_nor_recursion(tmp_path: Path) -> None:
    """A tree deeper than any path can name, as a container can make it, goes."""
    top = tmp_path / "tree"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    remove_writable(top)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_that_look_like_our_own_are_no_trap(tmp_path: Path) -> None:
    """Numbers, which subdirectories are renamed to on the way, may be there already."""
    tree = tmp_path / "tree"
    for name in ("1/1/1/1", "2/1/2", "1/2/x", "3"):
        (tree / name).mkdir(parents=True)
    (tree / "4").write_text("a file")
    remove_writable(tree)
    assert list(tmp_path.iterdir()) == []


paths = st.lists(st.sampled_from(["1", "2", "3", "a"]), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(paths, max_size=12))
def test_every_shape_of_tree_goes(tmp_path: Path, shapes: list[list[str]]) -> None:
    """However directories nest and whatever they are called, nothing is left."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for parts in shapes:
        tree.joinpath(*parts).mkdir(parents=True, exist_ok=True)
        (tree.joinpath(*parts) / "file").touch()
    remove_writable(tree)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
def test_a_mount_is_never_entered(data_dir: Path) -> None:
    """What is mounted beneath stays whole, and the error says that it is busy."""
    source, tree = data_dir / "source", data_dir / "tree"
    source.mkdir()
    (source / "precious").write_text("x")
    (tree / "a/point").mkdir(parents=True)
    clone = mount.clone_tree(source)
    mount.attach(clone, tree / "a/point")
    os.close(clone)
    try:
        with pytest.raises(KernelError) as refused:
            remove_writable(tree)
        assert refused.value.errno == errno.EBUSY
        assert (source / "precious").read_text() == "x"
    finally:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if str(tree) in line:
                mount.unmount(line.split()[4])
    remove_writable(tree)
    assert not tree.exists()


def opened_while_removing(tree: Path, expected: tuple[str, ...]) -> int:
    """Remove a tree; return how many directories were read."""
    read = 0

    def scan(directory: int) -> object:
        nonlocal read
        read += 1
        return scandir(directory)

    scandir = os.scandir
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "scandir", scan)
        remove_writable(tree, expected)
    return read


def test_what_is_as_expected_is_not_looked_at(tmp_path: Path) -> None:
    """No directory is read; one with anything more in it is, and all of it goes."""
    expected = ("a/b/", "a/file", "a/", "c/")
    for more in ("", "a/more", "c/more/x", "d/x"):
        tree = tmp_path / "tree"
        (tree / "a/b").mkdir(parents=True)
        (tree / "a/file").touch()
        (tree / "c").mkdir()
        if more:
            (tree / more).mkdir(parents=True)
        assert (opened_while_removing(tree, expected) == 0) == (not more)
        assert list(tmp_path.iterdir()) == []


def test_what_is_expected_need_not_be_there(tmp_path: Path) -> None:
    """Nor be of the kind that was expected; a link is removed and not followed."""
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    (outside / "precious").mkdir(parents=True)
    (tree / "file").mkdir(parents=True)
    (tree / "directory").symlink_to(outside)
    remove_writable(tree, ("file", "directory/", "absent", "absent/"))
    assert not tree.exists()
    assert (outside / "precious").is_dir()
    tree.write_text("no directory")
    remove_writable(tree, ("file",))
    assert not tree.exists()
