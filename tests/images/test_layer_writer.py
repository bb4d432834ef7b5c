"""Layers written into the store: digests that are true, blobs that are the same, and no litter."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError, SupervisionBug
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.model import OCI_LAYER_GZIP, Layer, Limits
from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.store import Store
from archives import directory, member, tar

pytestmark = [pytest.mark.root, pytest.mark.native]

ARCHIVE = tar(directory("d"), member("d/f", os.urandom(3000) * 500), member("d/.wh.gone"))


def written(store: Store, archive: bytes, piece: int = 100_000) -> Layer:
    with store.lease("a test") as lease, LayerWriter(store, lease) as writer:
        for start in range(0, len(archive), piece):
            writer.write(archive[start : start + piece])
        assert writer.size == len(archive)
        return writer.finish()


def everything(data: Path) -> set[Path]:
    """Every file of the store that is no lock."""
    files = {path for path in data.rglob("*") if path.is_file()}
    return {path for path in files if path.parent.name != "leases" and path.name != "lock"}


def test_a_layer_is_what_was_written(data_dir: Path) -> None:
    """The blob is gzip of the very bytes, and each digest is that of its bytes."""
    store = Store(data_dir)
    layer = written(store, ARCHIVE)
    assert layer.diff_id == f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
    assert layer.size == len(ARCHIVE)
    assert layer.blob.media_type == OCI_LAYER_GZIP
    path = store.blob(layer.blob.digest)
    assert path is not None
    blob = path.read_bytes()
    assert gzip.decompress(blob) == ARCHIVE
    assert layer.blob.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert layer.blob.size == len(blob)
    root = store.layer_root(layer.diff_id)
    assert (root / "d/f").stat().st_size == 1_500_000
    assert (root / "d/gone").stat().st_rdev == 0


def test_the_same_tar_is_the_same_layer(data_dir: Path) -> None:
    """However it is cut, and whenever it is written: one blob, one layer."""
    store = Store(data_dir)
    first = written(store, ARCHIVE)
    files = everything(data_dir)
    assert written(store, ARCHIVE, 1111) == first
    assert everything(data_dir) == files


def test_a_tree_becomes_a_layer(data_dir: Path, tmp_path: Path) -> None:
    """Packed straight into the store, and the same again when the tree is the same."""
    store, digests = Store(data_dir), set()
    (tmp_path / "f").write_text("content")
    for _ in range(2):
        top = os.open(tmp_path, os.O_RDONLY)
        try:
            with store.lease("a test") as lease, LayerWriter(store, lease) as writer:
                pack_tree(top, writer.write)
                layer = writer.finish()
        finally:
            os.close(top)
        digests.add(layer.blob.digest)
        assert (store.layer_root(layer.diff_id) / "f").read_text() == "content"
    assert len(digests) == 1


def test_what_is_not_finished_leaves_nothing(data_dir: Path) -> None:
    """An error on the way, or a tar that is none, leaves neither a blob on its way nor a layer."""
    store = Store(data_dir)
    before = everything(data_dir)
    with pytest.raises(ValueError, match="stop"), store.lease("a test") as lease:
        _broken_off(store, lease)
    assert everything(data_dir) == before
    with pytest.raises(ImageError):
        written(store, ARCHIVE[:2000])
    assert not list((data_dir / "store/layers").iterdir())


def _broken_off(store: Store, lease: Lease) -> None:
    with LayerWriter(store, lease) as writer:
        writer.write(ARCHIVE)
        raise ValueError("stop")


def test_a_layer_has_limits(data_dir: Path) -> None:
    """What grows beyond the limit ends there."""
    store = Store(data_dir)
    with (
        store.lease("a test") as lease,
        LayerWriter(store, lease, limits=Limits(size=10_000)) as writer,
    ):
        writer.write(bytes(10_000))
        with pytest.raises(ImageError, match="larger than 10000 bytes"):
            writer.write(b"x")


def test_a_layer_is_finished_once(data_dir: Path) -> None:
    """To finish it twice is our mistake, and is said to be."""
    store = Store(data_dir)
    with store.lease("a test") as lease, LayerWriter(store, lease) as writer:
        writer.write(ARCHIVE)
        writer.finish()
        with pytest.raises(SupervisionBug):
            writer.finish()
