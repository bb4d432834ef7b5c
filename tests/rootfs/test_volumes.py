"""Volumes: opened once, seen through the container's ids, made where the product may."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs.volume_content import named_path
from anchor_supervisor.rootfs.volumes import prepare

pytestmark = pytest.mark.root

ActingAs = Callable[[int], AbstractContextManager[None]]


def opened(volume: Volume, data: Path, user_namespace: int | None) -> tuple[int, Path, bool]:
    mounted = prepare(volume, data=data, fleet="shop", user_namespace=user_namespace)
    assert mounted.fd is not None
    return mounted.fd, Path(f"/proc/self/fd/{mounted.fd}"), mounted.directory


@pytest.mark.usefixtures("image")
def test_a_bound_directory_has_the_containers_ids(
    data_dir: Path, sandbox: Sandbox, ids: IdRange, acting_as: ActingAs
) -> None:
    """User 1000 of the machine's files is user 1000 of the container, both ways."""
    source = data_dir / "source"
    source.mkdir()
    os.chown(source, 1000, 1000)
    fd, seen, directory = opened(
        Volume(VolumeKind.BIND, "/data", str(source)), data_dir, sandbox.user
    )
    try:
        assert directory
        assert seen.stat().st_uid == ids.first + 1000
        with acting_as(ids.first + 1000):
            (seen / "new").touch()
    finally:
        os.close(fd)
    assert (source / "new").stat().st_uid == 1000


@pytest.mark.usefixtures("image")
def test_a_single_file_can_be_bound(data_dir: Path, sandbox: Sandbox) -> None:
    """A file is mounted as a file, and the plan learns which it is."""
    source = data_dir / "conf"
    source.write_text("x")
    fd, seen, directory = opened(
        Volume(VolumeKind.BIND, "/conf", str(source), read_only=True), data_dir, sandbox.user
    )
    try:
        assert not directory
        assert seen.read_text() == "x"
        with pytest.raises(OSError, match="Read-only"):
            seen.write_text("y")
    finally:
        os.close(fd)


def test_read_only_covers_what_is_mounted_beneath(data_dir: Path) -> None:
    """A mount beneath the source comes along, and is read-only too."""
    source, beneath = data_dir / "source", data_dir / "source/beneath"
    beneath.mkdir(parents=True)
    inner = mount.new_filesystem("tmpfs")
    mount.attach(inner, beneath)
    os.close(inner)
    (beneath / "file").touch()
    try:
        volume = Volume(VolumeKind.BIND, "/data", str(source), read_only=True)
        fd, seen, _ = opened(volume, data_dir, None)
        try:
            assert (seen / "beneath/file").exists()
            with pytest.raises(OSError, match="Read-only"):
                (seen / "beneath/new").touch()
        finally:
            os.close(fd)
        (beneath / "still-writable-outside").touch()
    finally:
        mount.unmount(beneath)


def test_a_missing_source_is_named_and_never_made(data_dir: Path) -> None:
    """A typing mistake does not become an empty directory owned by root, as elsewhere."""
    volume = Volume(VolumeKind.BIND, "/data", str(data_dir / "typo"))
    with pytest.raises(HostError, match=r"volume source `.*typo` does not exist"):
        prepare(volume, data=data_dir, fleet="shop", user_namespace=None)
    assert not (data_dir / "typo").exists()


def test_a_file_system_without_id_maps_is_named(sandbox: Sandbox, data_dir: Path) -> None:
    """The error names the source and the switch that helps."""
    with pytest.raises(HostError, match=r"`/proc/sys`.* does not support idmapped") as refused:
        prepare(
            Volume(VolumeKind.BIND, "/data", "/proc/sys"),
            data=data_dir,
            fleet="shop",
            user_namespace=sandbox.user,
        )
    assert refused.value.hint is not None
    assert 'user_namespace = "host"' in refused.value.hint


@pytest.mark.usefixtures("image")
def test_a_named_volume_is_made_once_and_kept(
    data_dir: Path, sandbox: Sandbox, ids: IdRange, acting_as: ActingAs
) -> None:
    """It belongs to the container's root, lies where only the supervisor comes, and stays."""
    volume = Volume(VolumeKind.NAMED, "/data", "pgdata")
    for attempt in range(2):
        fd, seen, _ = opened(volume, data_dir, sandbox.user)
        try:
            assert seen.stat().st_uid == ids.first
            assert seen.stat().st_mode & 0o777 == 0o755
            assert len(list(seen.iterdir())) == attempt
            with acting_as(ids.first):
                (seen / "kept").touch()
        finally:
            os.close(fd)
    path = named_path(data_dir, "shop", "pgdata")
    assert path == data_dir / "volumes/shop/pgdata/data"
    assert (path / "kept").stat().st_uid == 0
    assert all(parent.stat().st_mode & 0o777 == 0o700 for parent in list(path.parents)[:3])


def test_a_tmpfs_needs_nothing_prepared(data_dir: Path) -> None:
    """It is the container's first process that makes it."""
    mounted = prepare(
        Volume(VolumeKind.TMPFS, "/run"), data=data_dir, fleet="shop", user_namespace=None
    )
    assert mounted.fd is None
