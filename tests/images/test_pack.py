"""Packing: what comes out of an archive is what went in, however hostile the tree."""

from __future__ import annotations

import io
import os
import socket
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.images.pack import NOBODY, pack_tree
from archives import Member, directory, hard_link, member, tar, unpacked_from

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def packed(tree: Path, *, first_id: int = 0, changes: bool = False, prefix: bytes = b"") -> bytes:
    parts: list[bytes] = []
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pack_tree(fd, parts.append, first_id=first_id, changes=changes, prefix=prefix)
    finally:
        os.close(fd)
    return b"".join(parts)


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getmembers()


def names(archive: bytes) -> list[str]:
    return [info.name for info in members(archive)]


def facts(top: Path) -> Iterator[tuple[object, ...]]:
    """Everything that an archive keeps of each file of a tree."""
    inodes: dict[int, int] = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        is_link, is_file = stat.S_ISLNK(status.st_mode), stat.S_ISREG(status.st_mode)
        yield (
            *(path.relative_to(top), status.st_mode, status.st_uid, status.st_gid),
            *(status.st_mtime_ns, inodes.setdefault(status.st_ino, len(inodes)), status.st_rdev),
            path.readlink() if is_link else None,
            path.read_bytes() if is_file else None,
            [(key, os.getxattr(path, key)) for key in sorted(os.listxattr(path))]
            if not is_link
            else None,
        )


places = st.lists(st.sampled_from(["a", "b", "é" * 60, "d"]), min_size=1, max_size=3).map("/".join)
times = st.integers(-(10**18), 10**19)
ids = st.sampled_from([0, 1, 1000, 65534, 3_000_000_000])


@st.composite
def any_member(draw: st.DrawFn) -> Member:
    fields: dict[str, Any] = {"uid": draw(ids), "gid": draw(ids), "mode": draw(modes)}
    nanoseconds = draw(times)
    headers = {"mtime": f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"}
    if nanoseconds < 0:
        headers = {"mtime": f"-{-nanoseconds // 10**9}.{-nanoseconds % 10**9:09}"}
    name = draw(places)
    kind = draw(st.sampled_from(["file", "directory", "symlink", "link", "fifo", "device"]))
    if kind in ("file", "directory"):
        headers |= {"SCHILY.xattr.user.note": "ü\0=\n"} if draw(st.booleans()) else {}
    fields["pax_headers"] = headers
    match kind:
        case "file":
            return member(name, draw(st.binary(max_size=1500)), **fields)
        case "directory":
            return directory(name, **fields)
        case "symlink":
            return member(name, kind=tarfile.SYMTYPE, linkname="../" + draw(places), **fields)
        case "link":
            return hard_link(name, draw(places))
        case "fifo":
            return member(name, kind=tarfile.FIFOTYPE, **fields)
        case _:
            fields |= {"devmajor": draw(st.integers(1, 4095)), "devminor": 1048575}
            return member(name, kind=tarfile.BLKTYPE, **fields)


modes = st.sampled_from([0, 0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o7777])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_member(), max_size=8))
def test_unpacking_and_packing_are_each_others_reverse(
    tmp_path: Path, sequence: list[Member]
) -> None:
    """A tree packed and unpacked is the same tree, and packed again the same bytes."""
    here = tmp_path / str(len(list(tmp_path.iterdir())))
    for part in (here, here / "first", here / "second"):
        part.mkdir()
    try:
        unpacked_from(tar(directory("."), *sequence), here / "first")
    except ImageError:
        return
    archive = packed(here / "first", changes=True)
    unpacked_from(archive, here / "second")
    assert list(facts(here / "second")) == list(facts(here / "first"))
    assert packed(here / "second", changes=True) == archive


def test_the_tree_itself_has_an_entry(tree: Path) -> None:
    """Its mode and owner are part of it; a prefix is put before every name."""
    (tree / "d").mkdir()
    (tree / "d/f").write_text("x")
    tree.chmod(0o711)
    assert names(packed(tree)) == [".", "d", "d/f"]
    assert members(packed(tree))[0].mode == 0o711
    assert names(packed(tree, prefix=b"app/")) == ["app", "app/d", "app/d/f"]


def test_owners_are_the_containers(tree: Path) -> None:
    """Ids lose the first one of the container; what it does not have is nobody's, as inside."""
    for name, owner in (("root", 100_000), ("last", 165_535), ("next", 165_536), ("host", 0)):
        (tree / name).touch()
        os.chown(tree / name, owner, owner)
    archive = members(packed(tree, first_id=100_000))
    assert {info.name: (info.uid, info.gid) for info in archive} == {
        ".": (NOBODY, NOBODY),
        "root": (0, 0),
        "last": (65_535, 65_535),
        "next": (NOBODY, NOBODY),
        "host": (NOBODY, NOBODY),
    }
    assert not any(info.uname or info.gname for info in archive)


def capability(*, root: int | None = None) -> bytes:
    revision = 0x02000001 if root is None else 0x03000001
    numbers = (revision, 1 << 10, 0, 0, 0, *(() if root is None else (root,)))
    return struct.pack(f"<{len(numbers)}I", *numbers)


def test_capabilities_are_for_the_containers_root(tree: Path, tmp_path: Path) -> None:
    """What was set inside a user namespace is, in the image, for whoever is root there."""
    for name, root in (("plain", None), ("own", 100_000), ("inner", 101_000), ("other", 7)):
        (tree / name).touch()
        os.setxattr(tree / name, "security.capability", capability(root=root))
    (tmp_path / "out").mkdir()
    unpacked_from(packed(tree, first_id=100_000), tmp_path / "out")
    found = {
        path.name: os.getxattr(path, "security.capability")
        for path in (tmp_path / "out").iterdir()
        if os.listxattr(path)
    }
    assert found == {
        "plain": capability(),
        "own": capability(),
        "inner": capability(root=1000),
    }


def mark(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def test_overlay_marks_become_the_archives(tree: Path) -> None:
    """With `changes`: the opaque mark follows its directory, removals are where they were."""
    (tree / "d/full").mkdir(parents=True)
    os.setxattr(tree / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(tree / "d/full", "trusted.overlay.origin", b"x")
    os.setxattr(tree / "d/full", "user.overlay.opaque", b"y")
    (tree / "d/full/a").touch()
    mark(tree / "d/full/b")
    mark(tree / "gone")
    os.link(tree / "gone", tree / "too")  # overlayfs shares one device among its whiteouts
    archive = packed(tree, changes=True)
    expected = ["d", "d/.wh..wh..opq", "d/full", "d/full/a", "d/full/.wh.b", ".wh.gone", ".wh.too"]
    assert names(archive) == [".", *expected]
    assert all(info.isreg() for info in members(archive) if ".wh." in info.name)
    assert not any("overlay" in key for info in members(archive) for key in info.pax_headers)


def test_marks_survive_the_round(tree: Path, tmp_path: Path) -> None:
    """Changes packed and unpacked are the same changes."""
    (tree / "d").mkdir()
    os.setxattr(tree / "d", "trusted.overlay.opaque", b"y")
    mark(tree / "gone")
    (tmp_path / "out").mkdir()
    archive = packed(tree, changes=True)
    assert unpacked_from(archive, tmp_path / "out").marks == 2
    assert os.getxattr(tmp_path / "out/d", "trusted.overlay.opaque") == b"y"
    assert (tmp_path / "out/gone").stat().st_rdev == 0
    assert packed(tmp_path / "out", changes=True) == archive


def test_without_changes_there_are_no_marks(tree: Path) -> None:
    """A tree that is merely a tree removes nothing, whatever is in it."""
    (tree / "d").mkdir()
    os.setxattr(tree / "d", "trusted.overlay.opaque", b"y")
    mark(tree / "gone")
    assert names(packed(tree)) == [".", "d"]


@pytest.mark.parametrize("attribute", ["redirect", "metacopy"])
def test_half_a_change_is_refused(tree: Path, attribute: str) -> None:
    """A file or directory whose rest is in a lower layer would be lost without a word."""
    (tree / "d").mkdir()
    os.setxattr(tree / "d", f"trusted.overlay.{attribute}", b"")
    with pytest.raises(ImageError, match="only partly"):
        packed(tree, changes=True)


def test_a_name_that_would_be_a_removal_is_refused(tree: Path) -> None:
    """A container could otherwise write what an image takes for a removal."""
    (tree / ".wh.etc").touch()
    with pytest.raises(ImageError, match=r"`\.wh\.etc`"):
        packed(tree)


def test_sockets_are_left_out(tree: Path) -> None:
    """A socket without its server is nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tree / "s"))
        assert names(packed(tree)) == ["."]


def test_what_is_mounted_is_left_out(tree: Path) -> None:
    """Its place stays, and nothing of /proc gets into an image."""
    (tree / "proc").mkdir()
    (tree / "z").touch()
    subprocess.run(["mount", "-t", "proc", "proc", tree / "proc"], check=True)
    try:
        assert names(packed(tree)) == [".", "proc", "z"]
    finally:
        subprocess.run(["umount", tree / "proc"], check=True)


def test_no_link_is_followed(tree: Path) -> None:
    """Neither a link to a file nor one to a directory leads out of the tree."""
    (tree.parent / "outside").mkdir()
    (tree.parent / "outside/secret").write_text("secret")
    (tree / "file").symlink_to("../outside/secret")
    (tree / "folder").symlink_to("../outside")
    archive = packed(tree)
    assert b"secret" not in archive.replace(b"../outside/secret", b"")
    assert [info.linkname for info in members(archive)[1:]] == ["../outside/secret", "../outside"]


def test_a_file_has_the_size_that_its_header_says(tree: Path) -> None:
    """What grows is cut, what shrinks is filled with zeros: the archive stays whole."""
    for name in ("grows", "shrinks"):
        (tree / name).write_bytes(b"x" * 1000)

    parts: list[bytes] = []

    def sink(data: bytes) -> None:
        """Change the file once its header is out."""
        parts.append(data)
        for name in ("grows", "shrinks"):
            if data[-512:].startswith(name.encode() + b"\0"):
                (tree / name).write_bytes(b"y" * (5000 if name == "grows" else 10))

    fd = os.open(tree, os.O_RDONLY)
    try:
        pack_tree(fd, sink)
    finally:
        os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        contents = [archive.extractfile(name) for name in ("grows", "shrinks")]
        assert [file.read() for file in contents if file] == [
            b"y" * 1000,
            b"y" * 10 + bytes(990),
        ]


def test_what_vanishes_or_changes_its_kind_is_no_error(tree: Path) -> None:
    """Names that were listed may mean nothing, or something else, when their turn comes."""
    for name in ("a", "b", "c", "d"):
        (tree / name).mkdir()
        (tree / name / "f").touch()
    (tree.parent / "outside").mkdir()
    (tree.parent / "outside/secret").touch()

    def sink(data: bytes) -> None:
        if data[-512:].startswith(b"a/\0"):
            (tree / "b").rename(tree / "moved")
            (tree / "c").rename(tree / "also-moved")
            (tree / "c").symlink_to("../outside")
            (tree / "d/f").unlink()
            os.mkfifo(tree / "d/f")
        parts.append(data)

    parts: list[bytes] = []
    fd = os.open(tree, os.O_RDONLY)
    try:
        pack_tree(fd, sink)
    finally:
        os.close(fd)
    found = {info.name: info.type for info in members(b"".join(parts))}
    assert found == {
        ".": tarfile.DIRTYPE,
        "a": tarfile.DIRTYPE,
        "a/f": tarfile.REGTYPE,
        "c": tarfile.SYMTYPE,
        "d": tarfile.DIRTYPE,
        "d/f": tarfile.FIFOTYPE,
    }


def test_a_tree_too_deep_is_refused(tree: Path) -> None:
    """A container can nest without end; nothing that unpacks it could follow."""
    top = os.open(tree, os.O_RDONLY)
    here = os.dup(top)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        with pytest.raises(ImageError, match="directories deep"):
            pack_tree(top, lambda _: None)
    finally:
        os.close(top)
        subprocess.run(["rm", "-rf", tree / "d"], check=True)


def test_what_cannot_be_read_is_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing disk is an error with a name, and leaves no descriptor open."""
    (tree / "d").mkdir()
    (tree / "d/f").write_text("x")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KernelError, match="read `d"):
        packed(tree)
    assert len(os.listdir("/proc/self/fd")) == before


def test_links_keep_their_text(tree: Path, tmp_path: Path) -> None:
    """Any text, of any bytes."""
    (tree / "l").symlink_to(os.fsdecode(b"\xff/" + b"x" * 300))
    (tmp_path / "out").mkdir()
    unpacked_from(packed(tree), tmp_path / "out")
    assert (tmp_path / "out/l").readlink() == (tree / "l").readlink()
