"""Unpacking: honest archives come out whole, and leave no trace of what they may not make."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import itertools
import os
import stat
import struct
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.tree_writer import TreeWriter
from archives import (
    directory,
    hard_link,
    member,
    outside,
    symlink,
    tar,
    unpacked_from,
    walk,
)

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory to unpack into; its neighbour must never change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_an_honest_archive_comes_out_whole(root: Path) -> None:
    """Content, modes with set-id bits, owners, times to the nanosecond, links and fifos survive."""
    archive = tar(
        directory(".", mode=0o711, uid=7),
        directory("bin", mode=0o750, uid=1, gid=2, mtime=1000),
        member("bin/su", b"program", mode=0o4755, uid=0, pax_headers={"mtime": "12.000000345"}),
        hard_link("bin/sudo", "bin/su"),
        symlink("sh", "/nowhere/../bin/su"),
        member("pipe", kind=tarfile.FIFOTYPE, mode=0o622, uid=3),
        member("implied/parent/file", b"x"),
        member("n" * 255, b"long"),
        member("/".join(["d" * 50] * 6), b"deep"),
    )
    result = unpacked_from(archive, root)
    su = root / "bin/su"
    assert result.skipped == 0
    assert su.read_bytes() == b"program"
    assert su.stat().st_mode == stat.S_IFREG | 0o4755
    assert su.stat().st_mtime_ns == 12_000_000_345
    assert (root / "bin/sudo").samefile(su)
    assert (root / "sh").readlink() == Path("/nowhere/../bin/su")
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert ((root / "pipe").stat().st_uid, (root / "pipe").stat().st_mode & 0o777) == (3, 0o622)
    bin_status = (root / "bin").stat()
    assert (bin_status.st_uid, bin_status.st_gid, bin_status.st_mtime) == (1, 2, 1000)
    assert bin_status.st_mode & 0o7777 == 0o750
    assert (root.stat().st_mode & 0o7777, root.stat().st_uid) == (0o711, 7)
    assert (root / "implied/parent").stat().st_mode & 0o777 == 0o755
    assert (root / ("n" * 255)).read_bytes() == b"long"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_format_and_compression_is_read(root: Path, form: int, mode: str) -> None:
    """The three tar formats, plain and through each known compression, give the same tree."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for info, content in (directory("a"), member("a/b", b"x" * 100_000), member("c", b"y")):
            archive.addfile(info, io.BytesIO(content))
    unpacked_from(file.getvalue(), root)
    assert (root / "a/b").read_bytes() == b"x" * 100_000
    assert (root / "c").read_bytes() == b"y"


def test_a_root_without_an_entry_can_be_entered_by_everybody(root: Path) -> None:
    """An archive that does not mention `.` gives a root with mode 0755."""
    root.chmod(0o700)
    unpacked_from(tar(member("a")), root)
    assert root.stat().st_mode & 0o7777 == 0o755


def test_attributes_that_are_safe_are_kept_and_others_dropped(root: Path) -> None:
    """user.* and file capabilities stay; overlayfs's marks and other names never pass."""
    capability = b"\x01\x00\x00\x02" + b"\x00\x04\x00\x00" + bytes(12)
    headers = {
        "SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x",
    }
    unpacked_from(tar(member("f", b"x", pax_headers=headers)), root)
    assert sorted(os.listxattr(root / "f")) == ["security.capability", "user.note"]
    assert os.getxattr(root / "f", "user.note") == b"hello"


def test_devices_come_out_as_declared(root: Path) -> None:
    """Kind, numbers, owner and mode, under every name of theirs."""
    archive = tar(
        member("dev/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666, uid=5),
        member("dev/sda", kind=tarfile.BLKTYPE, devmajor=259, devminor=70000),
        member("dev/zero", kind=tarfile.BLKTYPE),
        hard_link("null", "dev/null"),
    )
    assert unpacked_from(archive, root).skipped == 0
    null, disk = (root / "dev/null").stat(), (root / "dev/sda").stat()
    assert (null.st_mode, null.st_uid) == (stat.S_IFCHR | 0o666, 5)
    assert null.st_rdev == os.makedev(1, 3)
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev) == (True, os.makedev(259, 70000))
    assert (root / "null").samefile(root / "dev/null")


def test_absolute_names_are_names_in_the_root(root: Path) -> None:
    """As everybody else takes them: some builders write them, of files, links and the root."""
    before = outside(root)
    archive = tar(
        directory("/", mode=0o711),
        member("/etc/passwd", b"x"),
        member("//etc//group", b"y"),
        hard_link("etc/again", "/etc/passwd"),
        member("/old/.wh.gone"),
    )
    unpacked_from(archive, root)
    assert root.stat().st_mode & 0o7777 == 0o711
    assert (root / "etc/again").samefile(root / "etc/passwd")
    assert (root / "etc/group").read_bytes() == b"y"
    assert (root / "old/gone").stat().st_rdev == 0
    assert outside(root) == before


def test_what_aufs_left_is_left_out(root: Path) -> None:
    """Its bookkeeping, once part of images, is neither content nor a removal."""
    archive = tar(
        directory(".wh..wh.plnk"),
        member(".wh..wh.plnk/12.34", b"x"),
        member(".wh..wh.aufs"),
        directory("d/.wh..wh.orph"),
        hard_link("d/.wh.gone", ".wh..wh.aufs"),
    )
    result = unpacked_from(archive, root)
    assert (result.skipped, result.marks) == (4, 1)
    assert [path.name for path in walk(root)] == ["d", "gone"]


def test_every_revision_of_capabilities_is_taken(root: Path) -> None:
    """The first has not been known to Linux for long; what is none of the three is dropped."""
    first = struct.pack("<3I", 0x01000001, 0x400, 0x20)
    second = struct.pack("<5I", 0x02000001, 0x400, 0x20, 0, 0)
    third = struct.pack("<6I", 0x03000001, 0x400, 0x20, 0, 0, 1000)
    values = {"1": first, "2": second, "3": third, "4": second[:19], "5": b"\x05" * 20}
    name = "security.capability"
    unpacked_from(
        tar(
            *[
                member(
                    file,
                    pax_headers={f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")},
                )
                for file, value in values.items()
            ]
        ),
        root,
    )
    found = {path.name: os.getxattr(path, name) for path in root.iterdir() if os.listxattr(path)}
    assert found == {"1": second, "2": second, "3": third}


def test_attributes_too_large_are_the_archives_fault(root: Path) -> None:
    """ENOSPC for an attribute is no full disk."""
    headers = {f"SCHILY.xattr.user.{number}": "x" * 60_000 for number in range(9)}
    with pytest.raises(ImageError, match=r"larger attributes|unpacked"):
        unpacked_from(tar(member("f", pax_headers=headers)), root)


def test_memory_does_not_grow_with_the_archive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of entries, removals and directories nothing is kept until the end."""
    kept: list[int] = []
    finish = TreeWriter.finish

    def finish_and_look(tree: TreeWriter) -> None:
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0])
        finish(tree)

    monkeypatch.setattr(TreeWriter, "finish", finish_and_look)
    for count in (10, 10, 500):  # the first fills every cache
        entries = [
            (directory(f"d{number}"), member(f"d{number}/f", b"x"), member(f"d{number}/.wh.gone"))
            for number in range(count)
        ]
        archive = tar(*itertools.chain(*entries))
        (root / str(len(kept))).mkdir()
        tracemalloc.start()
        unpacked_from(archive, root / str(len(kept)))
        tracemalloc.stop()
    assert kept[2] - kept[1] < 400_000  # a piece of the archive is under way


def test_the_digest_is_of_the_plain_archive(root: Path) -> None:
    """With whatever follows its end: it is the layer's diff id."""
    plain = tar(member("a", b"x")) + bytes(5 * 512) + b"trailer"
    digest = f"sha256:{hashlib.sha256(plain).hexdigest()}"
    (root / "gz").mkdir()
    assert unpacked_from(plain, root).digest == digest
    assert unpacked_from(gzip.compress(plain), root / "gz").digest == digest


def test_no_archive_makes_an_overlay_mark(root: Path) -> None:
    """A character device 0:0 is left out, and so are the links to it."""
    archive = tar(member("gone", kind=tarfile.CHRTYPE), hard_link("also", "gone"))
    assert unpacked_from(archive, root).skipped == 2
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0"])
def test_holes_stay_holes(root: Path, form: str) -> None:
    """A sparse file of 10 GB takes what its data takes, in each of GNU tar's pax formats."""
    size, data = 10 << 30, b"D" * 4096
    headers = {"GNU.sparse.size": str(size)}
    content = data
    if form == "0.0":
        headers |= {
            "GNU.sparse.numblocks": "1",
            "GNU.sparse.offset": str(size - 4096),
            "GNU.sparse.numbytes": "4096",
        }
    elif form == "0.1":
        headers |= {"GNU.sparse.numblocks": "1", "GNU.sparse.map": f"{size - 4096},4096"}
    else:
        headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "sparse",
            "GNU.sparse.realsize": str(size),
        }
        content = f"1\n{size - 4096}\n4096\n".encode().ljust(512, b"\0") + data
    unpacked_from(tar(member("sparse", content, pax_headers=headers), member("next", b"n")), root)
    status = (root / "sparse").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 1 << 20
    with (root / "sparse").open("rb") as file:
        file.seek(size - 4096)
        assert file.read() == data
    assert (root / "next").read_bytes() == b"n"


def test_a_later_entry_replaces_an_earlier_one(root: Path) -> None:
    """Files, links and empty directories give way; nothing is written through what was there."""
    archive = tar(
        member("a", b"old"),
        hard_link("b", "a"),
        member("a", b"new"),
        symlink("l", "b"),
        member("l", b"file"),
        directory("d"),
        member("d", b"file"),
        member("e", b"file"),
        directory("e"),
    )
    unpacked_from(archive, root)
    assert {name: (root / name).read_bytes() for name in "abld"} == {
        "a": b"new",
        "b": b"old",
        "l": b"file",
        "d": b"file",
    }
    assert (root / "e").is_dir()
