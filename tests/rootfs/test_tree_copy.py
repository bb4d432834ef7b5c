"""A copied tree equals its source in everything a program can see."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.rootfs import tree_copy
from anchor_supervisor.rootfs.tree_copy import copy_tree

pytestmark = pytest.mark.root

Facts = dict[str, tuple[object, ...]]


def facts(top: Path) -> Facts:
    """Everything about each entry, hard links by the names that share an inode."""
    found: Facts = {}
    first: dict[int, str] = {}
    for folder, directories, files in os.walk(top):
        for name in sorted((*directories, *files, ".")):
            path = Path(folder) / name
            status = path.lstat()
            key = str(path.relative_to(top))
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = path.readlink()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            xattrs = {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            }
            group = None if path.is_dir() else first.setdefault(status.st_ino, key)
            found[key] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_size,
                status.st_mtime_ns, content, str(xattrs), group,
            )  # fmt: skip
    return {key: value[:3] + value[4:] if stat.S_ISDIR(int(str(value[0]))) else value
            for key, value in found.items()}  # fmt: skip


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    ends = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    try:
        copy_tree(*ends)
    finally:
        for end in ends:
            os.close(end)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with one of everything."""
    top = tmp_path / "source"
    (top / "dir/sub").mkdir(parents=True)
    (top / "dir/file").write_bytes(os.urandom(100_000))
    (top / "empty").touch()
    os.link(top / "dir/file", top / "dir/sub/linked")
    os.link(top / "dir/file", top / "also-linked")
    (top / "link").symlink_to("/etc/passwd")
    os.lchown(top / "link", 5, 6)
    os.mkfifo(top / "fifo", 0o640)
    (top / "setuid").write_text("x")
    os.chown(top / "setuid", 1000, 1001)
    (top / "setuid").chmod(0o6755)
    capability = b"\x01\x00\x00\x02" + b"\x00\x04\x00\x00" + bytes(12)
    os.setxattr(top / "setuid", "security.capability", capability)
    os.setxattr(top / "dir", "user.note", b"\0binary\xff")
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"data")
    (top / "dir/sub").chmod(0o1777)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(10**18 + number, 10**18 + number), follow_symlinks=False)
    os.utime(top, ns=(1, 2))
    return top


def test_the_copy_equals_its_source(source: Path, tmp_path: Path) -> None:
    """Content, owners, modes with set-id bits, times, links, attributes and holes are the same."""
    (source / "sparse").rename(tmp_path / "sparse")  # a gigabyte of zeros: compared by itself
    os.utime(source, ns=(1, 2))
    copy(source, tmp_path / "copy")
    assert facts(tmp_path / "copy") == facts(source)


def test_holes_stay_holes(source: Path, tmp_path: Path) -> None:
    """A sparse gigabyte takes a few blocks in the copy too, with its data in place."""
    copy(source, tmp_path / "copy")
    status = (tmp_path / "copy/sparse").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks <= (source / "sparse").stat().st_blocks
    with (tmp_path / "copy/sparse").open("rb") as file:
        file.seek(1 << 29)
        assert file.read(4) == b"data"


def test_without_copy_file_range_the_copy_is_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the two file systems cannot share blocks, content goes through memory."""

    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    copy(source, tmp_path / "copy")
    assert (tmp_path / "copy/dir/file").read_bytes() == (source / "dir/file").read_bytes()
    assert (tmp_path / "copy/sparse").stat().st_size == 1 << 30


def test_devices_and_sockets_are_left_out(tmp_path: Path) -> None:
    """A device node is not copied, and neither is a second name of one."""
    source = tmp_path / "source"
    source.mkdir()
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.link(source / "null", source / "null2")
    os.mknod(source / "socket", stat.S_IFSOCK | 0o666)
    copy(source, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_no_link_in_the_source_is_followed(tmp_path: Path) -> None:
    """A link to a directory is copied as a link, and nothing behind it is read."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "etc").symlink_to("/etc")
    copy(source, tmp_path / "copy")
    assert (tmp_path / "copy/etc").is_symlink()


def test_a_tree_that_is_too_deep_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depth has a bound, so that descriptors do; none stays open."""
    monkeypatch.setattr(tree_copy, "DEEPEST", 5)
    (tmp_path / "source/1/2/3/4/5/6").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ImageError, match="more than 5 levels"):
        copy(tmp_path / "source", tmp_path / "copy")
    assert len(os.listdir("/proc/self/fd")) == before
