"""Image names become layers, or an error that says which image and what to do."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.images.resolve import resolve
from anchor_supervisor.rootfs.layers import Layers


def test_the_machine_itself_is_one_layer(tmp_path: Path) -> None:
    """`host` needs no preparation and is known as such."""
    assert resolve(Image(ImageKind.HOST, "host"), tmp_path) == Layers(
        (Path("/"),), "host", host=True
    )


def test_a_directory_is_its_own_layer(tmp_path: Path) -> None:
    """Nothing is copied; the same directory is the same image, another one is another."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, again, b = (
        resolve(Image(ImageKind.DIRECTORY, str(tmp_path / name)), tmp_path) for name in "aab"
    )
    assert a.paths == (tmp_path / "a",)
    assert a == again
    assert a.digest != b.digest


@pytest.mark.root
def test_an_archive_is_unpacked_and_known_by_its_bytes(tmp_path: Path, data_dir: Path) -> None:
    """Two archives of the same bytes are the same image."""
    for name in ("one.tar", "two.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.addfile(tarfile.TarInfo("file"))
    one, two = (
        resolve(Image(ImageKind.ARCHIVE, str(tmp_path / name)), data_dir)
        for name in ("one.tar", "two.tar")
    )
    assert one == two
    assert one.digest.startswith("sha256:")
    assert (one.paths[0] / "file").is_file()


@pytest.mark.parametrize("kind", [ImageKind.DIRECTORY, ImageKind.ARCHIVE])
def test_a_missing_image_is_named(tmp_path: Path, kind: ImageKind) -> None:
    """The path that is not there is in the message."""
    with pytest.raises(ImageError, match=r"no image at `/nowhere/rootfs`"):
        resolve(Image(kind, "/nowhere/rootfs"), tmp_path)


def test_a_file_is_not_a_directory_image(tmp_path: Path) -> None:
    """A plain file that does not end in .tar is refused by name."""
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="neither a directory nor an archive"):
        resolve(Image(ImageKind.DIRECTORY, str(tmp_path / "file")), tmp_path)


def test_the_store_is_refused_with_what_works_instead(tmp_path: Path) -> None:
    """A name of the store says that it is not supported yet, and the hint lists what is."""
    with pytest.raises(ImageError, match=r"image `postgres`: .* not supported yet") as refused:
        resolve(Image(ImageKind.STORE, "postgres"), tmp_path)
    assert refused.value.hint is not None
    assert "`host`" in refused.value.hint
