"""A copied tree equals its source in everything a program can see."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.rootfs import tree_copy
from anchor_supervisor.rootfs.overlay import merge_layers
from anchor_supervisor.rootfs.tree_copy import copy_layers, copy_tree
from waiting import SLOWNESS

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


def test_devices_are_copied_and_sockets_left_out(tmp_path: Path) -> None:
    """A device node is what it was, with both its names; no root lets anybody open it."""
    source = tmp_path / "source"
    source.mkdir()
    os.mknod(source / "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.chown(source / "null", 5, 6)
    os.link(source / "null", source / "null2")
    os.mknod(source / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    os.mknod(source / "socket", stat.S_IFSOCK | 0o666)
    os.link(source / "socket", source / "socket2")
    os.mknod(source / "mark", stat.S_IFCHR, 0)
    copy(source, tmp_path / "copy")
    made = tmp_path / "copy"
    assert sorted(path.name for path in made.iterdir()) == ["disk", "null", "null2"]
    status = (made / "null").stat()
    assert (status.st_rdev, status.st_mode, status.st_uid, status.st_gid) == (
        os.makedev(1, 3), stat.S_IFCHR | 0o640, 5, 6
    )  # fmt: skip
    assert (made / "null2").samefile(made / "null")
    assert stat.S_ISBLK((made / "disk").stat().st_mode)


def test_a_copy_can_be_cancelled_between_files(source: Path, tmp_path: Path) -> None:
    """Whoever asked for it may change their mind; no descriptor stays open."""
    (tmp_path / "copy").mkdir()
    answers = iter([False, False, True])
    ends = [os.open(path, os.O_RDONLY) for path in (source, tmp_path / "copy")]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="cancelled"):
        copy_tree(ends[0], ends[1], cancelled=lambda: next(answers))
    assert len(os.listdir("/proc/self/fd")) == before
    for end in ends:
        os.close(end)


def test_hard_links_of_a_layer_stay_links_as_far_as_they_are_seen(tmp_path: Path) -> None:
    """Where a layer above replaces or removes one name, the others are still one file."""
    top, lower, target = (tmp_path / name for name in ("top", "lower", "copy"))
    for folder in (top, lower, target):
        folder.mkdir()
    (lower / "a").write_text("lower")
    for name in "bcd":
        os.link(lower / "a", lower / name)
    (top / "a").write_text("top")
    os.mknod(top / "b", stat.S_IFCHR, 0)
    ends = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (top, lower, target)]
    try:
        copy_layers(ends[:2], ends[2])
    finally:
        for end in ends:
            os.close(end)
    assert sorted(path.name for path in target.iterdir()) == ["a", "c", "d"]
    assert (target / "a").read_text() == "top"
    assert (target / "c").read_text() == "lower"
    assert (target / "c").samefile(target / "d")
    assert (target / "c").stat().st_nlink == 2


Tree = dict[str, str | None]


@st.composite
def layer(draw: st.DrawFn) -> tuple[Tree, frozenset[str]]:
    """A small layer: paths that are directories (None), files or marks, and opaque directories."""
    tree: Tree = {}
    names = st.sampled_from(["a", "b", "c"])
    for _ in range(draw(st.integers(1, 6))):
        parts = draw(st.lists(names, min_size=1, max_size=3))
        for depth in range(1, len(parts)):
            tree.setdefault("/".join(parts[:depth]), None)
        tree.setdefault("/".join(parts), draw(st.sampled_from([None, "file", "link", "mark"])))
    inside = {path for path in tree if all(tree[above] is None for above in ancestors(path))}
    kept = {path: tree[path] for path in tree if path in inside}
    folders = [path for path in sorted(kept) if kept[path] is None]
    opaque = draw(st.sets(st.sampled_from(folders))) if folders else set()
    return kept, frozenset(opaque)


def ancestors(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def make_layer(top: Path, tree: Tree, opaque: frozenset[str], content: str) -> None:
    top.mkdir()
    for path in sorted(tree):
        match tree[path]:
            case None:
                (top / path).mkdir()
            case "file":
                (top / path).write_text(content)
            case "link":
                (top / path).symlink_to(content)
            case _:
                os.mknod(top / path, stat.S_IFCHR, 0)
    for path in opaque:
        os.setxattr(top / path, "trusted.overlay.opaque", b"y")
    for number, path in enumerate(sorted(tree, reverse=True)):
        when = 10**18 + number * 10**9 + len(content)
        os.utime(top / path, ns=(when, when), follow_symlinks=False)


def seen(top: Path) -> dict[str, tuple[object, ...]]:
    """What a program finds by walking; a name in a listing that leads to nothing is not there."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        if not os.path.lexists(path):
            continue
        status = path.lstat()
        text: object = None
        if path.is_symlink():
            text = str(path.readlink())
        elif path.is_file():
            text = path.read_text()
        found[str(path.relative_to(top))] = (status.st_mode, status.st_mtime_ns, text)
    return found


@given(st.lists(layer(), min_size=2, max_size=4))
@settings(max_examples=40 if SLOWNESS == 1 else 10)
@example(
    [
        ({"a": None}, frozenset()),
        ({"a": "file"}, frozenset()),
        ({"a": None, "a/b": None}, frozenset()),
    ]
)
def test_copied_layers_are_what_overlayfs_shows(drawn: list[tuple[Tree, frozenset[str]]]) -> None:
    """Whatever the layers hold, remove and hide, the copy is the kernel's own merging of them."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("ANCHOR_TEST_DIR")) as folder:
        places = []
        for number, (tree, opaque) in enumerate(drawn):
            places.append(Path(folder, str(number)))
            make_layer(places[-1], tree, opaque, f"of {number}")
        target = Path(folder, "copy")
        target.mkdir()
        merged = merge_layers(places, None)
        ends = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (*places, target)]
        try:
            copy_layers(ends[:-1], ends[-1])
            assert seen(target) == seen(Path(f"/proc/self/fd/{merged}"))
        finally:
            for end in (*ends, merged):
                os.close(end)


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
