"""Prune removes what nothing leads to, all of it, and nothing else."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import archives
from anchor_supervisor.images.model import OCI_LAYER
from anchor_supervisor.images.pruning import disk_size
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Store
from image_store import (
    add_image,
    assert_only,
    assert_whole,
    blob_descriptor,
    diff_id,
    hexes,
    layer_blob,
    tagged,
)

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def test_what_is_shared_stays(store: Store) -> None:
    """Untagged, an image goes with what only it was made of; the list says what and how much."""
    kept = tagged(store, "kept", 0, 1)
    gone = tagged(store, "gone", 1, 2)
    assert store.prune() == ()
    store.untag(parse("gone"))
    root = store.layer_root(diff_id(2)).parent
    expected = [
        ("image", gone.digest, store.layout.images / f"{gone.digest[7:]}.json"),
        ("layer", diff_id(2), root),
        *(
            ("blob", digest, store.layout.blobs / digest[7:])
            for digest in sorted([gone.digest, gone.config_blob.digest, blob_descriptor(2).digest])
        ),
    ]
    listed = [(kind, digest[7:19], disk_size(path)) for kind, digest, path in expected]
    planned = store.prune(dry_run=True)
    assert [(each.kind, each.name, each.size) for each in planned] == listed
    assert all(each.size for each in planned)
    assert_whole(store)
    assert store.find(gone.digest) == gone
    assert store.prune() == planned
    assert_only(store, kept)
    assert_whole(store)


def test_everything_takes_names_that_nobody_uses(store: Store) -> None:
    """What a living process holds keeps its names, until it is done."""
    used, _ = tagged(store, "used", 0), tagged(store, "unused", 1)
    store.tag(parse("used:too"), used.digest)
    with store.lease("fleet x") as lease:
        lease.hold(used.digest)
        planned = store.prune(everything=True, dry_run=True)
        assert [each.name for each in planned if each.kind == "name"] == [
            "docker.io/library/unused:latest"
        ]
        assert store.prune(everything=True) == planned
        assert {each.digest for each in store.images()} == {used.digest}
        assert store.find("used") == store.find("used:too") == used
    store.prune(everything=True)
    assert_only(store)
    assert hexes(store, "names") == set()


def test_a_held_image_keeps_all_it_leads_to(store: Store) -> None:
    """Its manifest's digest holds configuration, blobs and layers; its name may go meanwhile."""
    image = tagged(store, "held", 0, 1)
    with store.lease("fleet x") as lease:
        lease.hold(image.digest)
        store.untag(parse("held"))
        assert store.prune() == ()
        assert_whole(store)
        for digest in (image.digest, image.config_blob.digest, diff_id(0)):
            assert store.holders(digest) == ("fleet x",)
    assert store.prune() != ()
    assert_only(store)


def test_what_is_on_its_way_is_kept_until_its_owner_is_gone(store: Store) -> None:
    """Blobs and layers without an image stay with the lease; a part that may be resumed too."""
    with store.lease("pull") as lease:
        blob = store.add_blob(lease, OCI_LAYER, layer_blob(1))
        store.ensure_layer(lease, blob, diff_id(1))
        with store.write_blob(lease, blob_descriptor(2)) as writer:
            assert writer is not None
            writer.write(layer_blob(2)[:10])
            assert store.prune() == ()
        assert store.prune() == ()
        assert len(hexes(store, "ingest")) == 1
    assert [each.kind for each in store.prune(dry_run=True)] == ["layer", "blob", "part"]
    assert [each.kind for each in store.prune()] == ["layer", "blob", "part"]
    assert_only(store)


def test_litter_is_listed_and_removed(store: Store) -> None:
    """What killed processes left goes with a prune, whatever it is, and leads nowhere."""
    with store.lease("test"):
        pass
    outside = store.data / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x" * 100_000)
    ingest = store.layout.ingest
    (ingest / "abc.new").write_text("x")
    (ingest / f"layer-{'1' * 64}" / "root").mkdir(parents=True)
    (ingest / f"layer-{'1' * 64}" / "root/link").symlink_to(outside)
    (ingest / "trash-1").mkdir()
    (store.layout.leases / "dead").write_text("{}\n")
    planned = store.prune(dry_run=True)
    assert {(each.kind, each.name) for each in planned} == {
        ("unfinished", "abc.new"),
        ("unfinished", "1" * 12),
        ("unfinished", "trash-1"),
    }
    assert sum(each.size for each in planned) < 100_000
    assert store.prune() == planned
    assert_only(store)
    assert (outside / "file").stat().st_size == 100_000


def test_sizes_are_bytes_on_the_disk(store: Store, tmp_path: Path) -> None:
    """Holes take nothing, a file of many names counts once, a deep tree is no trouble."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert disk_size(tmp_path / "sparse") < 1 << 20
    (tmp_path / "full").write_bytes(b"x" * (1 << 20))
    one = disk_size(tmp_path)
    os.link(tmp_path / "full", tmp_path / "again")
    assert disk_size(tmp_path) == one >= 1 << 20
    deep = archives.tar(archives.member("/".join("d" * 40 for _ in range(50)), b"x"))
    with store.lease("test") as lease:
        store.ensure_layer(lease, store.add_blob(lease, OCI_LAYER, deep), None)
    assert [each.kind for each in store.prune()] == ["layer", "blob"]


def test_whoever_waits_is_told(store: Store) -> None:
    """A prune that finds others in the way says so once, and goes on when they are done."""
    tagged(store, "a", 0)
    store.untag(parse("a"))
    waits: list[str] = []
    done = threading.Event()

    def wait() -> None:
        waits.append("waits")
        done.set()

    with store.layout.shared():
        thread = threading.Thread(target=lambda: store.prune(on_wait=wait))
        thread.start()
        assert done.wait(30)
        assert hexes(store, "images") != set()
    thread.join()
    assert waits == ["waits"]
    assert_only(store)
    store.prune(on_wait=pytest.fail)


def test_a_name_that_leads_nowhere_is_removed(store: Store) -> None:
    """Which no use of the store makes; a file deleted by hand does."""
    image = tagged(store, "a", 0)
    (store.layout.images / f"{image.digest[7:]}.json").unlink()
    assert list(store.images()) == []
    assert ("name", "docker.io/library/a:latest") in {
        (each.kind, each.name) for each in store.prune()
    }
    assert_only(store)


def test_images_of_one_process_are_pruned_while_another_adds(store: Store) -> None:
    """A lease taken before what it needs is looked for is never too late."""
    with store.lease("first") as first:
        add_image(store, first, 0, 1)
    with store.lease("second") as second:
        second.hold(diff_id(0), blob_descriptor(0).digest)
        store.prune()
        assert hexes(store, "layers") == {diff_id(0)[7:]}
        image = add_image(store, second, 0, 1)
        store.prune()
        assert_whole(store)
        store.tag(parse("a"), image.digest)
    store.prune()
    assert_only(store, image)


def test_one_image_is_removed_with_what_no_other_needs(store: Store) -> None:
    """Other images keep what they share with it, named or not; a name or a holder keeps it all."""
    gone, other = tagged(store, "gone", 0, 1), tagged(store, "other", 1, 2)
    assert store.remove(gone.digest) == ()
    store.untag(parse("gone"))
    store.untag(parse("other"))
    with store.lease("fleet x") as lease:
        lease.hold(gone.digest)
        assert store.remove(gone.digest) == ()
    removed = store.remove(gone.digest)
    assert [each.kind for each in removed] == ["image", "layer", "blob", "blob", "blob"]
    assert_only(store, other)
    assert_whole(store)
    assert store.remove(gone.digest) == ()
