"""Unpacking: honest archives come out whole, hostile ones touch nothing outside and say why."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.unpack import Limits, Unpacked, unpack
from archives import Member, directory, hard_link, member, symlink, tar

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory to unpack into; its neighbour must never change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def extract(archive: bytes, root: Path, **limits: int) -> Unpacked:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(io.BytesIO(archive), fd, Limits(**limits))
    finally:
        os.close(fd)


def outside(root: Path) -> dict[str, str | None]:
    """Everything beside the root, with content."""
    return {
        str(path): path.read_text() if path.is_file() else None
        for path in (*root.parent.iterdir(), *(root.parent / "outside").rglob("*"))
    }


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
    result = extract(archive, root)
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
    extract(file.getvalue(), root)
    assert (root / "a/b").read_bytes() == b"x" * 100_000
    assert (root / "c").read_bytes() == b"y"


def test_a_root_without_an_entry_can_be_entered_by_everybody(root: Path) -> None:
    """An archive that does not mention `.` gives a root with mode 0755."""
    root.chmod(0o700)
    extract(tar(member("a")), root)
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
    extract(tar(member("f", b"x", pax_headers=headers)), root)
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
    assert extract(archive, root).skipped == 0
    null, disk = (root / "dev/null").stat(), (root / "dev/sda").stat()
    assert (null.st_mode, null.st_uid) == (stat.S_IFCHR | 0o666, 5)
    assert null.st_rdev == os.makedev(1, 3)
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev) == (True, os.makedev(259, 70000))
    assert (root / "null").samefile(root / "dev/null")


def test_no_archive_makes_an_overlay_mark(root: Path) -> None:
    """A character device 0:0 is left out, and so are the links to it."""
    archive = tar(member("gone", kind=tarfile.CHRTYPE), hard_link("also", "gone"))
    assert extract(archive, root).skipped == 2
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0"])
def test_holes_stay_holes(root: Path, form: str) -> None:
    """A sparse file of a gigabyte takes what its data takes, in each of GNU tar's pax formats."""
    size, data = 1 << 30, b"D" * 4096
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
    extract(tar(member("sparse", content, pax_headers=headers), member("next", b"n")), root)
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
    extract(archive, root)
    assert {name: (root / name).read_bytes() for name in "abld"} == {
        "a": b"new",
        "b": b"old",
        "l": b"file",
        "d": b"file",
    }
    assert (root / "e").is_dir()


HOSTILE = {
    "parent": [member("../outside/precious", b"evil")],
    "parent inside": [member("a/../../outside/precious", b"evil")],
    "absolute parent": [member("/../etc/passwd", b"evil")],
    "through a link": [symlink("out", "../outside"), member("out/precious", b"evil")],
    "through an absolute link": [symlink("out", "/tmp"), member("out/evil", b"evil")],
    "through a chain": [
        symlink("a", "."),
        symlink("b", "a/../outside"),
        member("b/precious", b"evil"),
    ],
    "a directory through a link": [symlink("out", "../outside"), directory("out/new")],
    "a link through a link": [symlink("out", "../outside"), symlink("out/new", "x")],
    "a fifo through a link": [symlink("o", "../outside"), member("o/p", kind=tarfile.FIFOTYPE)],
    "through a file": [member("a", b"x"), member("a/b", b"x")],
    "hard link to the parent": [hard_link("h", "../outside/precious")],
    "hard link to an absolute name": [hard_link("h", "/etc/passwd")],
    "hard link through a link": [symlink("out", "../outside"), hard_link("h", "out/precious")],
    "hard link to nothing": [hard_link("h", "nothing")],
    "hard link to a directory": [directory("d"), hard_link("h", "d")],
    "hard link to the root": [hard_link("h", ".")],
    "a full directory as a file": [member("d/x", b"x"), member("d", b"x")],
    "the root as a file": [member(".", b"x")],
    "the root as a link": [symlink(".", "../outside")],
    "name too long": [member("x" * 256)],
    "path too long": [member("/".join(["x"] * 3000))],
    "owner minus one": [member("a", pax_headers={"uid": "4294967295"}, uid=0)],
    "owner wrapped": [member("a", pax_headers={"gid": "4294967296"}, gid=0)],
    "owner negative": [member("a", pax_headers={"uid": "-1"}, uid=0)],
    "nul in a name": [member("a", pax_headers={"path": "a\0b"})],
    "nul in a link": [member("a", kind=tarfile.SYMTYPE, pax_headers={"linkpath": "a\0b"})],
    "a removal of nothing": [member(".wh.")],
    "a removal of the directory": [member("d/.wh..")],
    "a removal of the parent": [member("d/.wh...")],
    "through a removal": [member(".wh.a/b", b"x")],
    "a removal in a removal": [member(".wh.a/.wh.b")],
    "an opaque mark in a removal": [member(".wh.a/.wh..wh..opq")],
    "a removal through a link": [symlink("out", "../outside"), member("out/.wh.precious")],
    "an opaque mark through a link": [symlink("o", "../outside"), member("o/.wh..wh..opq")],
    "an opaque mark in a file": [member("f", b"x"), member("f/.wh..wh..opq")],
    "hard link to a removed file": [member(".wh.a"), hard_link("h", "a")],
    "hard link to a removal": [member(".wh.a"), hard_link("h", ".wh.a")],
    "hard link to an opaque mark": [member(".wh..wh..opq"), hard_link("h", ".wh..wh..opq")],
    "a device beyond numbers": [member("d", kind=tarfile.CHRTYPE, devmajor=5000)],
    "deeper than anything": [member("/".join(["x"] * 600))],
    "an unknown type": [member("a", kind=b"Z")],
    "sparse backwards": [
        member(
            "s",
            b"xxxx",
            pax_headers={
                "GNU.sparse.size": "8",
                "GNU.sparse.numblocks": "2",
                "GNU.sparse.map": "4,2,0,2",
            },
        )
    ],
    "sparse beyond the end": [
        member(
            "s",
            b"xxxx",
            pax_headers={
                "GNU.sparse.size": "2",
                "GNU.sparse.numblocks": "1",
                "GNU.sparse.map": "0,4",
            },
        )
    ],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused(root: Path, members: list[Member]) -> None:
    """Each is an ImageError, and what lies beside the root is as it was."""
    before = outside(root)
    with pytest.raises(ImageError):
        extract(tar(*members), root)
    assert outside(root) == before


names = st.lists(
    st.sampled_from(
        [
            "..",
            ".",
            "",
            "a",
            "b",
            "link",
            "outside",
            "precious",
            "é",
            ".wh.a",
            ".wh.link",
            ".wh..",
            ".wh..wh..opq",
            ".wh..wh.plnk",
        ]
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@st.composite
def members(draw: st.DrawFn) -> Member:
    name, other = draw(names), draw(names)
    return draw(
        st.sampled_from(
            [
                member(name, b"content"),
                directory(name, mode=0o700),
                symlink(name, other or "x"),
                symlink(name, "../../outside"),
                hard_link(name, other),
                member(name, kind=tarfile.FIFOTYPE),
                member(name, kind=tarfile.CHRTYPE),
            ]
        )
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(members(), max_size=8))
def test_no_sequence_of_entries_reaches_outside(root: Path, sequence: list[Member]) -> None:
    """Names, links and replacements in any order: unpacked or refused, never a step outside."""
    before = outside(root)
    target = root / f"r{len(list(root.iterdir()))}"
    target.mkdir()
    with contextlib.suppress(ImageError):
        extract(tar(*sequence), target)
    assert outside(root) == before
    assert all(path.is_relative_to(root) for path in walk(target))


def walk(top: Path) -> Iterator[Path]:
    for folder, directories, files in os.walk(top):
        for name in (*directories, *files):
            yield Path(folder) / name


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_never_ends_in_a_surprise(root: Path, data: st.DataObject) -> None:
    """Any bytes changed anywhere: it unpacks, or it is an ImageError; no other exception."""
    archive = bytearray(
        tar(directory("d"), member("d/f", b"x" * 700, pax_headers={"a": "b"}), symlink("l", "d"))
    )
    changes = st.tuples(st.integers(0, len(archive) - 1), st.integers(0, 255))
    for position, value in data.draw(st.lists(changes, max_size=6)):
        archive[position] = value
    before = outside(root)
    target = root / f"r{len(list(root.iterdir()))}"
    target.mkdir()
    with contextlib.suppress(ImageError):
        extract(bytes(archive), target)
    assert outside(root) == before


def cuts(archive: bytes) -> Iterable[int]:
    return (0, 1, 100, 511, 512, 600, 1024, len(archive) - 10240 + 100, len(archive) // 2)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_is_refused(root: Path, mode: str) -> None:
    """Wherever the file ends too early, in whatever compression, that is said."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        info, content = member("f", os.urandom(3000))
        archive.addfile(info, io.BytesIO(content))
    whole = file.getvalue()
    positions = cuts(whole) if mode == "w" else range(0, len(whole), 97)
    for cut in positions:
        if mode == "w" and cut >= 512 + 3072 + 512:
            continue
        with pytest.raises(ImageError):
            extract(whole[:cut], root)


def test_garbage_between_entries_is_not_taken_for_the_end(root: Path) -> None:
    """Python's parser stops silently at a bad header; we do not."""
    archive = bytearray(tar(member("a", b"x"), member("b", b"x")))
    archive[1024 : 1024 + 512] = b"\xff" * 512
    with pytest.raises(ImageError, match="end marker"):
        extract(bytes(archive), root)


def test_a_bomb_of_size_is_stopped(root: Path) -> None:
    """A few kilobytes that unpack to more than the limit end at the limit."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        info, content = member("zeros", bytes(20 << 20))
        archive.addfile(info, io.BytesIO(content))
    with pytest.raises(ImageError, match="more than 1048576 bytes"):
        extract(file.getvalue(), root, size=1 << 20)
    assert sum(path.stat().st_size for path in walk(root)) <= 1 << 20


def test_a_bomb_of_entries_is_stopped(root: Path) -> None:
    """More entries than the limit are refused at the limit."""
    with pytest.raises(ImageError, match="more than 10 entries"):
        extract(tar(*[member(f"f{number}") for number in range(20)]), root, entries=10)


def test_a_bomb_in_a_header_is_stopped(root: Path) -> None:
    """A name of megabytes is refused before it is read into memory."""
    with pytest.raises(ImageError, match="header of more than"):
        extract(tar(member("x", pax_headers={"comment": "x" * (2 << 20)})), root)


def test_headers_nested_without_end_are_refused(root: Path) -> None:
    """A chain of headers about headers ends in an error, not in a crashed interpreter."""
    header = member("x", b"11 path=aa\n", kind=tarfile.XHDTYPE)
    with pytest.raises(ImageError):
        extract(tar(*[header] * 1500, form=tarfile.USTAR_FORMAT), root)


def test_a_full_disk_is_the_machines_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC is a HostError with a remedy, not a bad image."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HostError, match="no space left") as refused:
        extract(tar(member("a", b"x")), root)
    assert not isinstance(refused.value, ImageError)


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Success or failure, the process has as many descriptors as before."""
    before = len(os.listdir("/proc/self/fd"))
    extract(tar(member("a/b/c", b"x"), hard_link("d", "a/b/c")), root)
    for hostile in HOSTILE.values():
        with pytest.raises(ImageError):
            extract(tar(*hostile), root)
    assert len(os.listdir("/proc/self/fd")) == before
