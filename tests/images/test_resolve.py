"""Image names become layers that are held, or an error that says which image and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import archives
from anchor_supervisor.errors import ImageError
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.images.plain import Resolved
from anchor_supervisor.images.resolve import resolve
from anchor_supervisor.images.store import Store
from anchor_supervisor.rootfs.layers import Layers
from image_store import diff_id, digest_of, tagged


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def found(store: Store, kind: ImageKind, reference: str | Path) -> Resolved:
    """Resolve an image, and let it go at once."""
    with store.lease("test") as lease:
        return resolve(Image(kind, str(reference)), store, lease)


def test_the_machine_itself_is_one_layer(store: Store) -> None:
    """`host` needs no preparation and is known as such."""
    layers = Layers((Path("/"),), "host", host=True)
    assert found(store, ImageKind.HOST, "host") == Resolved(layers)


def test_a_directory_is_its_own_layer(tmp_path: Path, store: Store) -> None:
    """Nothing is copied; the same directory is the same image, another one is another."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, again, b = (found(store, ImageKind.DIRECTORY, tmp_path / name).layers for name in "aab")
    assert a.paths == (tmp_path / "a",)
    assert a == again
    assert a.digest != b.digest


@pytest.mark.root
def test_an_archive_is_unpacked_known_by_its_bytes_and_held(tmp_path: Path, store: Store) -> None:
    """Two archives of the same bytes are one image, which stays as long as somebody has it."""
    content = archives.tar(archives.member("file"))
    for name in ("one.tar", "two.tar"):
        (tmp_path / name).write_bytes(content)
    with store.lease("fleet x") as lease:
        one, two = (
            resolve(Image(ImageKind.ARCHIVE, str(tmp_path / name)), store, lease)
            for name in ("one.tar", "two.tar")
        )
        assert one == two
        assert one.layers.digest == digest_of(content)
        assert one.image is None
        assert store.prune(everything=True) == ()
        assert (one.layers.paths[0] / "file").is_file()
        assert store.holders(one.layers.digest) == ("fleet x",)
    assert [each.kind for each in store.prune()] == ["layer"]


@pytest.mark.root
def test_an_image_of_the_store_gives_its_layers_uppermost_first(store: Store) -> None:
    """By name or digits; held with all of it, even where its name goes."""
    image = tagged(store, "shop", 1, 2)
    for text in ("shop", "docker.io/library/shop:latest", image.digest, image.digest[7:15]):
        with store.lease("fleet x") as lease:
            one = resolve(Image(ImageKind.STORE, text), store, lease)
            assert one.image == image
            assert one.layers.digest == image.digest
            assert one.layers.paths == (store.layer_root(diff_id(2)), store.layer_root(diff_id(1)))
            assert store.prune(everything=True) == ()
            assert store.holders(image.digest) == ("fleet x",)


def test_an_image_without_layers_is_refused(store: Store) -> None:
    """Nothing can be run in nothing."""
    with store.lease("test") as lease:
        image = store.make_image(lease, {"architecture": "amd64", "os": "linux"}, [])
        with pytest.raises(ImageError, match="has no layers"):
            resolve(Image(ImageKind.STORE, image.digest), store, lease)


@pytest.mark.parametrize("kind", [ImageKind.DIRECTORY, ImageKind.ARCHIVE])
def test_a_missing_image_is_named(store: Store, kind: ImageKind) -> None:
    """The path that is not there is in the message."""
    with pytest.raises(ImageError, match=r"no image at `/nowhere/rootfs`"):
        found(store, kind, "/nowhere/rootfs")


def test_a_file_is_not_a_directory_image(tmp_path: Path, store: Store) -> None:
    """A plain file that does not end in .tar is refused by name."""
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="neither a directory nor an archive"):
        found(store, ImageKind.DIRECTORY, tmp_path / "file")


def test_an_image_that_is_not_in_the_store_says_how_to_get_it(store: Store) -> None:
    """Named as the file names it, with the two ways to have it."""
    with pytest.raises(ImageError, match="image `postgres` is not in the store") as refused:
        found(store, ImageKind.STORE, "postgres")
    assert refused.value.hint == '`anchor pull postgres`, or set `pull = "missing"`'
