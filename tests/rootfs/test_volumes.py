"""Volumes: opened once, seen through the container's ids, made where the product may."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Propagation, Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.rootfs.volume_content import anonymous_path, named_path
from anchor_supervisor.rootfs.volumes import prepare
from exchange import exchange

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


def prepared(volume: Volume, data: Path, **places: object) -> tuple[int, Path]:
    mounted = prepare(volume, data=data, fleet="shop", user_namespace=None, **places)  # type: ignore[arg-type]
    assert mounted.fd is not None
    return mounted.fd, Path(f"/proc/self/fd/{mounted.fd}")


def test_a_volume_begins_with_the_images_content_unless_told_not_to(
    image: Path, data_dir: Path
) -> None:
    """Named and anonymous ones alike; `nocopy` leaves a new one empty."""
    layers = Layers((image,), "x")
    own = data_dir / "web.1"
    for volume, names in (
        (Volume(VolumeKind.NAMED, "/etc", "a"), ["passwd"]),
        (Volume(VolumeKind.NAMED, "/etc", "b", copy=False), []),
        (Volume(VolumeKind.ANONYMOUS, "/etc"), ["passwd"]),
        (Volume(VolumeKind.ANONYMOUS, "/etc/", copy=False), []),
    ):
        fd, seen = prepared(volume, data_dir, layers=layers, writable=own)
        try:
            assert os.listdir(seen) == names
        finally:
            os.close(fd)
    remove_writable(own)


def test_an_anonymous_volume_stays_until_its_instance_goes(data_dir: Path) -> None:
    """A second start finds what the first one wrote, and it lies in the instance's directory."""
    volume = Volume(VolumeKind.ANONYMOUS, "/data")
    own = data_dir / "web.1"
    for attempt in range(2):
        fd, seen = prepared(volume, data_dir, writable=own)
        try:
            assert (seen / "kept").exists() == bool(attempt)
            (seen / "kept").touch()
        finally:
            os.close(fd)
    assert (anonymous_path(own, "/data") / "kept").exists()
    remove_writable(own)
    assert not own.exists()


@pytest.mark.parametrize("kind", [VolumeKind.NAMED, VolumeKind.BIND])
def test_a_subpath_is_all_that_is_seen(kind: VolumeKind, data_dir: Path) -> None:
    """A directory or a file within the volume, and links within it are followed within it."""
    top = named_path(data_dir, "shop", "v")
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_text("x")
    (top / "here").symlink_to("/a/b")
    source = "v" if kind is VolumeKind.NAMED else str(top)
    for subpath, directory in (("a/b", True), ("here", True), ("a/b/file", False)):
        volume = Volume(kind, "/data", source, subpath=subpath)
        mounted = prepare(volume, data=data_dir, fleet="shop", user_namespace=None)
        assert mounted.fd is not None
        try:
            seen = Path(f"/proc/self/fd/{mounted.fd}")
            assert mounted.directory == directory
            assert (seen / "file" if directory else seen).read_text() == "x"
        finally:
            os.close(mounted.fd)


@pytest.mark.parametrize("away", ["/etc", "../../../../../../../../etc", "/proc/self/root/etc"])
def test_a_subpath_never_leads_out(away: str, data_dir: Path) -> None:
    """A link that a container has left there ends within the volume (CVE-2017-1002101)."""
    top = named_path(data_dir, "shop", "v")
    top.mkdir(parents=True)
    (top / "sub").symlink_to(away)
    volume = Volume(VolumeKind.NAMED, "/data", "v", subpath="sub")
    with pytest.raises(HostError, match="has no `sub` within it") as refused:
        prepare(volume, data=data_dir, fleet="shop", user_namespace=None)
    assert refused.value.hint is not None
    (top / "etc").mkdir()
    (top / "etc/ours").touch()
    if "proc" not in away:
        fd, seen = prepared(volume, data_dir)
        try:
            assert os.listdir(seen) == ["ours"]
        finally:
            os.close(fd)


def test_a_missing_subpath_is_named_and_nothing_is_made(data_dir: Path) -> None:
    """Neither it, nor a volume that would be new."""
    volume = Volume(VolumeKind.NAMED, "/data", "v", subpath="sub")
    with pytest.raises(HostError, match="volume `v` is new and has no `sub`"):
        prepare(volume, data=data_dir, fleet="shop", user_namespace=None)
    assert not (data_dir / "volumes").exists()


def test_options_hold_for_whatever_is_mounted_beneath(data_dir: Path) -> None:
    """noexec, nosuid and nodev are flags of every mount that the container gets."""
    source = data_dir / "source"
    (source / "beneath").mkdir(parents=True)
    inner = mount.new_filesystem("tmpfs")
    mount.attach(inner, source / "beneath")
    os.close(inner)
    flags = os.ST_NOEXEC | os.ST_NOSUID | os.ST_NODEV
    try:
        for given in (False, True):
            volume = Volume(
                VolumeKind.BIND, "/data", str(source), noexec=given, nosuid=given, nodev=given
            )
            fd, seen = prepared(volume, data_dir)
            try:
                for place in (seen, seen / "beneath"):
                    assert os.statvfs(place).f_flag & flags == (flags if given else 0)
            finally:
                os.close(fd)
    finally:
        mount.unmount(source / "beneath")


def test_a_slave_needs_a_mount_that_tells(data_dir: Path) -> None:
    """Where the source is private no mount would ever arrive, so it is refused in words."""
    source = data_dir / "source"
    source.mkdir()
    tree = mount.new_filesystem("tmpfs")
    mount.attach(tree, source)
    os.close(tree)
    volume = Volume(VolumeKind.BIND, "/data", str(source), propagation=Propagation.SLAVE)
    try:
        subprocess.run(["mount", "--make-private", str(source)], check=True)
        with pytest.raises(HostError, match="does not share") as refused:
            prepare(volume, data=data_dir, fleet="shop", user_namespace=None)
        assert refused.value.hint is not None
        subprocess.run(["mount", "--make-shared", str(source)], check=True)
        os.close(prepared(volume, data_dir)[0])
    finally:
        mount.unmount(source)


def test_a_source_that_is_exchanged_later_changes_nothing(data_dir: Path) -> None:
    """What was opened is what is mounted, whatever its path has become since."""
    source = data_dir / "source"
    source.mkdir()
    (source / "ours").touch()
    fd, seen = prepared(Volume(VolumeKind.BIND, "/data", str(source)), data_dir)
    try:
        source.rename(data_dir / "elsewhere")
        source.symlink_to("/etc")
        assert os.listdir(seen) == ["ours"]
    finally:
        os.close(fd)


def test_a_source_that_is_exchanged_meanwhile_is_one_or_the_other(data_dir: Path) -> None:
    """While a subpath is swapped for a link to /etc, what is mounted is within the volume.

    As in CVE-2021-30465: the exchange is atomic (renameat2(2), RENAME_EXCHANGE) and never ends.
    """
    top = named_path(data_dir, "shop", "v")
    (top / "sub").mkdir(parents=True)
    (top / "sub/ours").touch()
    (top / "evil").symlink_to("/etc")
    volume = Volume(VolumeKind.NAMED, "/data", "v", subpath="sub")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(top / "sub", top / "evil")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen, refused = 0, 0
    try:
        while seen < 100 or refused < 100:
            try:
                fd, place = prepared(volume, data_dir)
            except HostError:
                refused += 1
                continue
            try:
                assert os.listdir(place) == ["ours"]
                seen += 1
            finally:
                os.close(fd)
    finally:
        stop.set()
        swapper.join()
