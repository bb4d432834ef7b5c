"""Shared blocks where the file system can, and a clear word where it cannot: never a copy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.rootfs.strategies import assemble

pytestmark = pytest.mark.root

SHARING = pytest.mark.parametrize("disk", ["btrfs", "xfs"], indirect=True)
MEGABYTE = 1 << 20


def used(place: Path) -> int:
    """Bytes of the file system that are taken, once everything is written to it."""
    subprocess.run(["sync", "-f", str(place)], check=True)
    facts = os.statvfs(place)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def make_layers(place: Path) -> Layers:
    """Two layers: of the lower one's files the upper one replaces, removes and hides some."""
    lower, upper = place / "lower", place / "upper-layer"
    (lower / "dir").mkdir(parents=True)
    (lower / "big").write_bytes(os.urandom(32 * MEGABYTE))
    os.link(lower / "big", lower / "dir/linked")
    with (lower / "sparse").open("wb") as file:
        file.truncate(64 * MEGABYTE)
        file.seek(32 * MEGABYTE)
        file.write(b"data")
    (lower / "removed").touch()
    (lower / "changed").write_text("old")
    upper.mkdir()
    (upper / "changed").write_text("new")
    os.mknod(upper / "removed", 0o20000, 0)
    os.chown(upper / "changed", 33, 34)
    return Layers((upper, lower), "sha256:x")


@contextmanager
def root_of(
    strategy: RootStrategy, layers: Layers, place: Path, ids: IdRange, sandbox: Sandbox
) -> Iterator[Path]:
    fd = assemble(strategy, layers, place / "instance", ids=ids, user_namespace=sandbox.user)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@SHARING
def test_a_root_shares_its_blocks_with_the_image(
    disk: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """A tree of 32 MiB takes next to nothing; links, holes and owners are as in the layers."""
    layers = make_layers(disk)
    before = used(disk)
    with root_of(RootStrategy.REFLINK, layers, disk, ids, sandbox) as root:
        assert used(disk) - before < 4 * MEGABYTE
        assert sorted(os.listdir(root)) == ["big", "changed", "dir", "sparse"]
        assert (root / "big").read_bytes() == (disk / "lower/big").read_bytes()
        assert (root / "big").samefile(root / "dir/linked")
        assert (root / "sparse").stat().st_blocks <= (disk / "lower/sparse").stat().st_blocks
        assert (root / "changed").read_text() == "new"
        assert (root / "changed").stat().st_uid == ids.first + 33
        with (root / "big").open("r+b") as file:
            file.write(b"written by the container")
        assert not (disk / "lower/big").read_bytes().startswith(b"written")
    remove_writable(disk / "instance")


@SHARING
def test_an_overlay_lies_on_these_file_systems_too(
    disk: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Layers and upper directory on btrfs and xfs, as on ext4; a restart finds what was written."""
    layers = make_layers(disk)
    for attempt in range(2):
        with root_of(RootStrategy.OVERLAY, layers, disk, ids, sandbox) as root:
            assert sorted(set(os.listdir(root)) - {"new"}) == ["big", "changed", "dir", "sparse"]
            assert (root / "changed").stat().st_uid == ids.first + 33
            assert (root / "new").exists() == bool(attempt)
            (root / "new").touch()
    remove_writable(disk / "instance")


def test_a_file_system_that_cannot_share_is_named(
    data_dir: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Nothing is copied instead: the error names the file system, the hint what would do."""
    tmpfs = mount.new_filesystem("tmpfs")
    place = data_dir / "disk"
    place.mkdir()
    mount.attach(tmpfs, place)
    os.close(tmpfs)
    try:
        (place / "image").mkdir()
        (place / "image/file").write_text("x")
        layers = Layers((place / "image",), "x")
        with pytest.raises(HostError, match="`tmpfs` cannot share blocks") as refused:
            assemble(
                RootStrategy.REFLINK, layers, place / "own", ids=ids, user_namespace=sandbox.user
            )
        assert refused.value.hint == 'root = "overlay", or "copy"'
        assert list((place / "own").iterdir()) == []
    finally:
        mount.unmount(place)


@SHARING
def test_two_file_systems_cannot_share(
    disk: Path, data_dir: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """The image and the data directory have to be on the same one."""
    layers = make_layers(disk)
    with pytest.raises(HostError, match=r"the image is on `(btrfs|xfs)`, and ANCHOR_DATA_DIR on"):
        assemble(
            RootStrategy.REFLINK,
            layers,
            data_dir / "instance",
            ids=ids,
            user_namespace=sandbox.user,
        )
    remove_writable(data_dir / "instance")
