"""A full disk ends in words, and leaves nothing: the store is as it was."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

import archives
from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.images.model import OCI_LAYER, Descriptor
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.kernel.mount import mount_on, private_mount_namespace
from image_store import assert_only, assert_whole, digest_of, ended, hexes, in_child, name, tagged

pytestmark = pytest.mark.root

BIG = bytes(range(256)) * (16 << 10)  # 4 MiB, as much as there is
DISK = "size=4m,nr_inodes=150"


def on_a_small_disk(data: Path, act: Callable[[Store], None]) -> None:
    """Do it in a child whose data directory is a small disk that nobody else sees."""

    def child() -> None:
        private_mount_namespace()
        mount_on(str(data), "tmpfs", DISK)
        act(Store(data))

    assert ended(in_child(child)) == 0


def must_be_full(store: Store, act: Callable[[Lease], object]) -> None:
    """It fails for want of space, says so with a remedy, and the store is as it was."""
    kept = tagged(store, "kept", 0)
    with store.lease("test") as lease:
        with pytest.raises(HostError, match="no space left on the device") as said:
            act(lease)
        assert not isinstance(said.value, KernelError)
        assert "ANCHOR_DATA_DIR" in (said.value.hint or "")
        assert hexes(store, "ingest") == set()
    assert_whole(store)
    store.prune()
    assert_only(store, kept)
    assert tagged(store, "kept", 0) == kept


def write_announced(store: Store, lease: Lease) -> None:
    """A blob as a pull writes it."""
    with store.write_blob(lease, Descriptor(OCI_LAYER, digest_of(BIG), len(BIG))) as writer:
        assert writer is not None
        writer.write(BIG)
        writer.commit()


def unpack_files(store: Store, lease: Lease, content: bytes) -> None:
    """A layer from a small blob."""
    blob = store.add_blob(lease, OCI_LAYER, content)
    store.ensure_layer(lease, blob, None)


def unpack_archive(store: Store, lease: Lease, archive: Path) -> None:
    """An archive of a root."""
    store.ensure_archive(lease, archive)


MANY = archives.tar(*(archives.member(f"f{number}") for number in range(400)))
LARGE = archives.tar(*(archives.member(f"f{number}", BIG[: 1 << 20]) for number in range(2)))


def test_a_blob_that_does_not_fit(data_dir: Path) -> None:
    """Announced or not, nothing stays of it."""

    def act(store: Store) -> None:
        must_be_full(store, lambda lease: write_announced(store, lease))
        must_be_full(store, lambda lease: store.add_blob(lease, OCI_LAYER, BIG))

    on_a_small_disk(data_dir, act)


@pytest.mark.parametrize("content", [MANY, LARGE], ids=["files", "bytes"])
def test_a_layer_that_does_not_fit(data_dir: Path, content: bytes) -> None:
    """Too many files, or too many bytes: the tree goes, the blob is the next prune's."""
    on_a_small_disk(
        data_dir,
        lambda store: must_be_full(store, lambda lease: unpack_files(store, lease, content)),
    )


def test_an_archive_that_does_not_fit(data_dir: Path, tmp_path: Path) -> None:
    """Said with the archive's own name."""
    archive = tmp_path / "root.tar"
    archive.write_bytes(MANY)

    def act(store: Store) -> None:
        must_be_full(store, lambda lease: unpack_archive(store, lease, archive))

    on_a_small_disk(data_dir, act)


def test_a_disk_without_a_single_file_left_can_be_pruned(data_dir: Path) -> None:
    """Nothing can be added, and each use says so; what is there is whole, and can be removed."""

    def act(store: Store) -> None:
        image = tagged(store, "kept", 0)
        tagged(store, "gone", 0, 1)
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (store.data / f"filler{number}").touch()
        uses: list[Callable[[], object]] = [
            lambda: store.lease("x").__enter__(),
            lambda: store.tag(name("other"), image.digest),
        ]
        for use in uses:
            with pytest.raises(HostError, match="no space left on the device"):
                use()
        assert store.find("kept") == image
        assert_whole(store)
        store.untag(name("gone"))
        (store.data / "filler").touch()  # in the name's place
        planned = store.prune(dry_run=True)
        assert {each.kind for each in planned} == {"image", "blob", "layer"}
        assert store.prune() == planned
        assert_only(store, image)
        store.tag(name("other"), image.digest)

    on_a_small_disk(data_dir, act)
