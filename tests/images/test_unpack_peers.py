"""What others make of the same image: file by file the same as `umoci unpack`."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.unpack import unpack
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from archives import Member, directory, hard_link, member, symlink, tar

pytestmark = [pytest.mark.root, pytest.mark.native]

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0).decode("utf-8", "surrogateescape")


def busybox() -> list[Member]:
    """A base with programs, every kind of file, and every awkward property."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    sparse = {"GNU.sparse.size": str(9 << 20), "GNU.sparse.map": f"{8 << 20},4096"}
    return [
        directory(".", mode=0o755, mtime=1_600_000_000),
        directory("bin", mtime=1_600_000_001),
        member("bin/busybox", program, mode=0o4755, pax_headers={"mtime": "1.000000001"}),
        *[hard_link(f"bin/{name}", "bin/busybox") for name in ("sh", "ls", "cat")],
        symlink("linuxrc", "bin/busybox"),
        directory("tmp", mode=0o1777, mtime=5),
        directory("var", mode=0o2775, uid=3, gid=4, mtime=6),
        member("var/inherits-nothing", b"x", mtime=7),
        member("var/capable", b"x", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
        member("var/noted", b"x", pax_headers={"SCHILY.xattr.user.note": "ü=\n"}),
        member("var/holes", b"H" * 4096, pax_headers={"GNU.sparse.numblocks": "1", **sparse}),
        member("var/" + "long" * 60, b"long", uid=2_000_000_000, gid=70_000),
        directory("dev"),
        member("dev/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("dev/disk", kind=tarfile.BLKTYPE, devmajor=259, devminor=70_000, gid=6),
        member("dev/pipe", kind=tarfile.FIFOTYPE, mode=0o622),
        directory("old"),
        directory("old/kept", mtime=8),
        member("old/kept/a", b"a"),
        member("old/gone", b"gone"),
        directory("opaque", mtime=9),
        member("opaque/hidden", b"hidden"),
        directory("becomes-file"),
        member("becomes-directory", b"x"),
    ]


UPPER = [
    directory(".", mtime=1_600_000_002),
    directory("old", mode=0o750, mtime=10),
    member("old/.wh.gone"),
    directory("opaque", mode=0o711, mtime=11),
    member("opaque/.wh..wh..opq"),
    member("opaque/shown", b"shown"),
    member("becomes-file", b"now a file"),
    directory("becomes-directory", mtime=12),
    member("becomes-directory/inside", b"x"),
    directory("again", mtime=13),
    member("again/b", b"b"),
    hard_link("b-too", "again/b"),
]

TOP = [
    directory(".", mtime=1_600_000_003),
    member(".wh.again"),
    directory("old", mode=0o750, mtime=10),
    directory("old/kept", mtime=14),
    member("old/kept/.wh.a"),
    member("old/kept/.wh.never"),
]


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything of each file, and which names are one file."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[int, str] = {}
    for path in sorted([top, *walk(top)]):
        status = path.stat() if path == top else path.lstat()  # the top may be a descriptor
        name = str(path.relative_to(top))
        kind = stat.S_IFMT(status.st_mode)
        is_directory = kind == stat.S_IFDIR
        is_link = kind == stat.S_IFLNK
        attributes = [] if is_link else sorted(os.listxattr(path))
        found[name] = (
            *(oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns),
            *(status.st_rdev, None if is_directory else names.setdefault(status.st_ino, name)),
            None if is_directory else status.st_size,
            path.readlink() if is_link else None,
            path.read_bytes() if kind == stat.S_IFREG else None,
            {key: os.getxattr(path, key) for key in attributes if "overlay" not in key},
        )
    return found


def walk(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        yield from (Path(folder, name) for name in (*folders, *files))


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def image_of(place: Path, *layers: bytes) -> Path:
    """An OCI layout with an image `x` of these layers, made by umoci."""
    layout = place / "oci"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    for layer in layers:
        (place / "layer.tar").write_bytes(layer)
        run("umoci", "raw", "add-layer", "--image", f"{layout}:x", place / "layer.tar")
    return layout


def blobs_of(layout: Path) -> tuple[list[Path], list[str]]:
    """The layers of the only image as files, and the diff ids that its maker wrote down."""

    def blob(digest: str) -> Path:
        return layout / "blobs/sha256" / digest.removeprefix("sha256:")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    return [blob(layer["digest"]) for layer in manifest["layers"]], config["rootfs"]["diff_ids"]


def ours(place: Path, layout: Path) -> int:
    """A mount of what we make of the image, each diff id compared."""
    paths: list[Path] = []
    blobs, diff_ids = blobs_of(layout)
    for blob, diff_id in zip(blobs, diff_ids, strict=True):
        paths.insert(0, place / f"layer-{len(paths)}")
        paths[0].mkdir()
        root = os.open(paths[0], os.O_RDONLY)
        try:
            with blob.open("rb") as file:
                assert unpack(file, root).digest == diff_id
        finally:
            os.close(root)
    return merged(Layers(tuple(paths), "sha256:a test"))


def assert_same(place: Path, layout: Path) -> None:
    run("umoci", "unpack", "--image", f"{layout}:x", place / "bundle")
    root = ours(place, layout)
    try:
        assert facts(Path(f"/proc/self/fd/{root}")) == facts(place / "bundle/rootfs")
    finally:
        os.close(root)


def test_layers_are_what_umoci_makes_of_them(data_dir: Path) -> None:
    """Mode, owner, time, links, devices, attributes and content, after removals in two layers."""
    layers = (tar(*busybox()), tar(*UPPER), tar(*TOP))
    assert_same(data_dir, image_of(data_dir, *layers))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_older_formats_are_what_umoci_makes_of_them(data_dir: Path, form: int) -> None:
    """GNU's long names and binary numbers, and plain ustar with its split names."""
    large = 2_000_000_000 if form == tarfile.GNU_FORMAT else 2_000_000
    deep = "/".join(["d" * 30] * 6)
    archive = tar(
        directory("."),
        *[directory("/".join(["d" * 30] * depth), mtime=depth) for depth in range(1, 7)],
        member(f"{deep}/f", b"x", uid=large, mtime=2**32),
        *([symlink("l", "t" * 150)] if form == tarfile.GNU_FORMAT else []),
        form=form,
    )
    assert_same(data_dir, image_of(data_dir, archive))


def test_what_we_pack_is_what_umoci_unpacks(data_dir: Path) -> None:
    """A tree of ours, as an image in the hands of another."""
    root = ours(data_dir, image_of(data_dir, tar(*busybox()), tar(*UPPER)))
    archive = io.BytesIO()
    try:
        pack_tree(root, archive.write)
        (data_dir / "again").mkdir()
        layout = image_of(data_dir / "again", archive.getvalue())
        run("umoci", "unpack", "--image", f"{layout}:x", data_dir / "again/bundle")
        expected = facts(Path(f"/proc/self/fd/{root}"))
        assert facts(data_dir / "again/bundle/rootfs") == expected
    finally:
        os.close(root)
