"""Which mounts hear of the machine's later ones, told from the mount table."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.propagation import hears_of_mounts

pytestmark = pytest.mark.root


@pytest.fixture
def place(data_dir: Path) -> Iterator[Path]:
    """Something mounted that is private so far."""
    place = data_dir / "place"
    place.mkdir()
    tree = mount.new_filesystem("tmpfs")
    mount.attach(tree, place)
    os.close(tree)
    subprocess.run(["mount", "--make-private", str(place)], check=True)
    yield place
    mount.unmount(place)


def hears(place: Path) -> bool:
    handle = os.open(place, os.O_PATH)
    try:
        return hears_of_mounts(handle)
    finally:
        os.close(handle)


def test_only_shared_mounts_and_their_slaves_hear(place: Path) -> None:
    """A directory beneath the mount's root is on the same mount."""
    (place / "beneath").mkdir()
    assert not hears(place / "beneath")
    subprocess.run(["mount", "--make-shared", str(place)], check=True)
    assert hears(place / "beneath")
    slave = place / "slave"
    slave.mkdir()
    subprocess.run(["mount", "--bind", str(place / "beneath"), str(slave)], check=True)
    subprocess.run(["mount", "--make-slave", str(slave)], check=True)
    assert hears(slave)
    mount.unmount(slave)


def test_what_is_in_no_table_hears_nothing() -> None:
    """A detached mount is nowhere."""
    tree = mount.new_filesystem("tmpfs")
    try:
        assert not hears_of_mounts(tree)
    finally:
        os.close(tree)
