"""Unpacking hostile and broken archives: a clear error, and nothing outside is ever touched."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import HostError, ImageError
from archives import (
    Member,
    directory,
    hard_link,
    member,
    outside,
    symlink,
    tar,
    unpacked_from,
    walk,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory to unpack into; its neighbour must never change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


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
        unpacked_from(tar(*members), root)
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
                member(name, kind=tarfile.BLKTYPE, devmajor=1),
                member("/" + name, b"content"),
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
        unpacked_from(tar(*sequence), target)
    assert outside(root) == before
    assert all(path.is_relative_to(root) for path in walk(target))


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
        unpacked_from(bytes(archive), target)
    assert outside(root) == before


def cuts(archive: bytes) -> Iterable[int]:
    return (0, 1, 100, 511, 512, 600, 1024, len(archive) - 10240 + 100, len(archive) // 2)


def test_a_truncated_zstd_archive_is_refused(root: Path) -> None:
    """Wherever the file ends too early."""
    whole = zstd.compress(tar(member("f", os.urandom(3000))))
    for cut in range(1, len(whole), 97):
        with pytest.raises(ImageError):
            unpacked_from(whole[:cut], root)


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
            unpacked_from(whole[:cut], root)


def test_garbage_between_entries_is_not_taken_for_the_end(root: Path) -> None:
    """Python's parser stops silently at a bad header; we do not."""
    archive = bytearray(tar(member("a", b"x"), member("b", b"x")))
    archive[1024 : 1024 + 512] = b"\xff" * 512
    with pytest.raises(ImageError, match="end marker"):
        unpacked_from(bytes(archive), root)


@pytest.mark.parametrize("size", [512, 513, 700, 1023])
def test_a_known_archive_may_end_with_its_last_content(root: Path, size: int) -> None:
    """Without end marker and padding, where its digest is to be compared; and only there."""
    content = os.urandom(size)
    whole = tar(directory("d"), member("d/f", content))
    padded = size + -size % 512
    for end in {1024 + size, 1024 + padded - (size != padded), 1024 + padded}:
        assert unpacked_from(whole[:end], root, is_known=True).entries == 2
        assert (root / "d/f").read_bytes() == content
        shutil.rmtree(root / "d")
        with pytest.raises(ImageError, match=r"malformed|end marker"):
            unpacked_from(whole[:end], root)
    assert unpacked_from(b"", root, is_known=True).entries == 0


def test_a_known_archive_is_not_cut_short(root: Path) -> None:
    """Within a header, what extends one, or content, the end of the file is none of the archive."""
    long = member("long" * 60, b"x" * 600)
    whole = tar(member("a", b"x"), long)
    headers = len(whole.rstrip(b"\0")) - 600
    for cut in (*range(1024 + 1, headers, 61), headers, headers + 1, headers + 599):
        shutil.rmtree(root)
        root.mkdir()
        with pytest.raises(ImageError):
            unpacked_from(whole[:cut], root, is_known=True)


def test_a_bomb_of_size_is_stopped(root: Path) -> None:
    """A few kilobytes that unpack to more than the limit end at the limit."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        info, content = member("zeros", bytes(20 << 20))
        archive.addfile(info, io.BytesIO(content))
    with pytest.raises(ImageError, match="more than 1048576 bytes"):
        unpacked_from(file.getvalue(), root, size=1 << 20)
    assert sum(path.stat().st_size for path in walk(root)) <= 1 << 20


def test_a_bomb_of_entries_is_stopped(root: Path) -> None:
    """More entries than the limit are refused at the limit."""
    with pytest.raises(ImageError, match="more than 10 entries"):
        unpacked_from(tar(*[member(f"f{number}") for number in range(20)]), root, entries=10)


def test_a_bomb_in_a_header_is_stopped(root: Path) -> None:
    """A name of megabytes is refused before it is read into memory."""
    with pytest.raises(ImageError, match="header of more than"):
        unpacked_from(tar(member("x", pax_headers={"comment": "x" * (2 << 20)})), root)


def test_headers_nested_without_end_are_refused(root: Path) -> None:
    """A chain of headers about headers ends in an error, not in a crashed interpreter."""
    header = member("x", b"11 path=aa\n", kind=tarfile.XHDTYPE)
    with pytest.raises(ImageError):
        unpacked_from(tar(*[header] * 1500, form=tarfile.USTAR_FORMAT), root)


@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM, errno.EMFILE, errno.EOPNOTSUPP])
def test_what_the_machine_cannot_do_is_its_fault(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A broken disk or a missing right says nothing about the image."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(HostError, match=os.strerror(number)) as refused:
        unpacked_from(tar(directory("d")), root)
    assert not isinstance(refused.value, ImageError)


def test_a_full_disk_is_the_machines_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC is a HostError with a remedy, not a bad image."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HostError, match="no space left") as refused:
        unpacked_from(tar(member("a", b"x")), root)
    assert not isinstance(refused.value, ImageError)


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Success or failure, the process has as many descriptors as before."""
    before = len(os.listdir("/proc/self/fd"))
    unpacked_from(tar(member("a/b/c", b"x"), hard_link("d", "a/b/c")), root)
    for hostile in HOSTILE.values():
        with pytest.raises(ImageError):
            unpacked_from(tar(*hostile), root)
    assert len(os.listdir("/proc/self/fd")) == before
