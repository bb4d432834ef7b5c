"""The volumes on disk: counted and removed however hostile their content is."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.volume_content import Origin, make_content, named_path
from anchor_supervisor.rootfs.volume_store import (
    StoredVolume,
    create_volume,
    find_volume,
    remove_volume,
    stored_volumes,
    volume_size,
)

pytestmark = pytest.mark.root


def test_what_is_no_volume_is_not_listed(data_dir: Path) -> None:
    """Only directories with content count, by names that a fleet file could have."""
    top = data_dir / "volumes"
    for name in ("shop/good", "blog/good", "shop/.gone-x", "shop/bad name"):
        (top / name / "data").mkdir(parents=True)
    (top / "shop/half").mkdir()
    (top / "shop/file").touch()
    (top / "stray").touch()
    (top / "shop/linked").symlink_to(top / "blog/good/data")
    found = [(one.fleet, one.name) for one in stored_volumes(data_dir)]
    assert found == [("blog", "good"), ("shop", "good")]
    assert [one.fleet for one in stored_volumes(data_dir, "shop")] == ["shop"]
    assert stored_volumes(data_dir, "none") == ()
    assert stored_volumes(data_dir / "missing") == ()


def test_a_volume_made_by_hand_is_filled_by_its_first_container(
    data_dir: Path, image: Path
) -> None:
    """As one that the fleet makes, unless somebody has put something into it."""
    origin = Origin(Layers((image,), "x"), "/etc")
    for name in ("empty", "filled"):
        volume = create_volume(data_dir, "shop", name)
        assert volume.unused
        assert create_volume(data_dir, "shop", name) == volume
    (data_dir / "volumes/shop/filled/data/mine").touch()
    for name, content in (("empty", ["passwd"]), ("filled", ["mine"])):
        path = named_path(data_dir, "shop", name)
        make_content(path, origin=origin)
        assert os.listdir(path) == content
        assert not find_volume(data_dir, "shop", name).unused
    (named_path(data_dir, "shop", "empty") / "passwd").unlink()
    make_content(named_path(data_dir, "shop", "empty"), origin=origin)
    assert os.listdir(named_path(data_dir, "shop", "empty")) == []


@pytest.mark.native  # two thousand directories deep
def test_removal_leaves_nothing_and_follows_nothing(data_dir: Path) -> None:
    """Links to the machine, depth, odd names, and what a killed removal has left."""
    outside = data_dir / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = named_path(data_dir, "shop", "v")
    top.mkdir(parents=True)
    (top / "away").symlink_to(outside)
    os.mknod(top / "device", 0o20666, os.makedev(1, 3))
    Path(os.fsdecode(os.fsencode(top) + b"/\xff\n")).touch()
    deep = os.open(top, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    (data_dir / "volumes/shop/.gone-old/data").mkdir(parents=True)
    volume = find_volume(data_dir, "shop", "v")
    assert volume_size(volume) > 0
    remove_volume(data_dir, "shop", "v")
    assert (outside / "kept").exists()
    assert list((data_dir / "volumes").iterdir()) == []
    remove_volume(data_dir, "shop", "v")


def test_a_fleets_other_volumes_stay(data_dir: Path) -> None:
    """And a name that is a link is no volume, and leads to none."""
    for name in ("one", "other"):
        create_volume(data_dir, "shop", name)
    (data_dir / "volumes/shop/link").symlink_to("other")
    remove_volume(data_dir, "shop", "one")
    remove_volume(data_dir, "shop", "link")
    assert [one.name for one in stored_volumes(data_dir)] == ["other"]


@pytest.mark.parametrize("name", ["missing", "..", ".", "", "a/b", "x" * 300])
def test_a_volume_that_is_not_there_is_an_error(name: str, data_dir: Path) -> None:
    """With the name, and where to look."""
    with pytest.raises(HostError, match="there is no volume `shop/") as refused:
        find_volume(data_dir, "shop", name)
    assert refused.value.hint is not None


def test_a_size_is_what_the_disk_gives(data_dir: Path) -> None:
    """Two names are one file, a hole is nothing, and a link counts for itself alone."""
    volume = create_volume(data_dir, "shop", "v")
    empty = volume_size(volume)
    (volume.path / "file").write_bytes(bytes(1 << 20))
    os.link(volume.path / "file", volume.path / "again")
    with (volume.path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (volume.path / "machine").symlink_to("/")
    assert (1 << 20) <= volume_size(volume) - empty < (1 << 20) + 65536


def test_a_volume_that_cannot_be_looked_into_is_named(data_dir: Path) -> None:
    """The errno stays, such as that of a tree deeper than there are descriptors."""
    missing = StoredVolume("shop", "v", data_dir / "missing", 0.0, unused=False)
    assert volume_size(missing) == 0  # removed since it was listed
    volume = create_volume(data_dir, "shop", "deep")
    volume.path.joinpath(*["d"] * 80).mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with pytest.raises(KernelError) as caught:
            volume_size(volume)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    assert str(volume.path) in caught.value.message
    (data_dir / "volumes/shop/v").touch()
    with pytest.raises(KernelError, match="make volume"):
        create_volume(data_dir, "shop", "v")
