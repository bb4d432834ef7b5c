"""What lies beneath every image: found by a container, never in an image's way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.skeleton import make_skeleton
from anchor_supervisor.rootfs.strategies import assemble


def test_it_is_made_once_whatever_the_umask(tmp_path: Path) -> None:
    """Everybody in a container may read it; made again, it stays what it was."""
    before = os.umask(0o077)
    try:
        top = make_skeleton(tmp_path / "data")
    finally:
        os.umask(before)
    inode = (top / "etc/hosts").stat().st_ino
    assert make_skeleton(tmp_path / "data") == top
    assert (top / "etc/hosts").stat().st_ino == inode
    modes = {name: stat.S_IMODE((top / name).stat().st_mode) for name in ("", "etc", "etc/hosts")}
    assert modes == {"": 0o755, "etc": 0o755, "etc/hosts": 0o644}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.root
def test_an_image_has_the_last_word_and_nothing_is_written(tmp_path: Path) -> None:
    """What the image lacks is there, what it has stays, and the writable layer stays empty."""
    skeleton = make_skeleton(tmp_path / "data")
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (image / "etc/hosts").write_text("the image's own\n")
    layers = Layers((image,), str(image))
    root = assemble(
        RootStrategy.OVERLAY,
        layers,
        tmp_path / "instance",
        ids=None,
        user_namespace=None,
        skeleton=skeleton,
    )
    try:
        top = open_beneath(root, ".", os.O_RDONLY | os.O_DIRECTORY)
        assert sorted(os.listdir(top)) == ["dev", "etc", "proc", "sys"]
        os.close(top)
        file = open_beneath(root, "etc/hosts", os.O_RDONLY)
        assert os.read(file, 100) == b"the image's own\n"
        os.close(file)
        os.close(open_beneath(root, "etc/resolv.conf", os.O_RDONLY))
    finally:
        os.close(root)
    assert list((tmp_path / "instance/upper").iterdir()) == []
