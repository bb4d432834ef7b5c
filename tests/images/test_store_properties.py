"""Whatever is added, named, held and pruned in whatever order, the store is what a set would be."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.leases import _Lease
from anchor_supervisor.images.model import OCI_LAYER_GZIP, Image
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Store
from image_store import (
    add_image,
    assert_whole,
    blob_descriptor,
    diff_id,
    hexes,
    layer_blob,
    unsynced,
)

NAMES = st.sampled_from(["a", "b", "a:1", "localhost/c"])
SEEDS = st.lists(st.integers(0, 3), max_size=3)


@define(eq=False)
class Holder:
    """A living lease, and what it should hold."""

    number: int
    lease: _Lease
    block: ExitStack
    held: set[str] = field(factory=set)


def parts(image: Image) -> set[str]:
    """Every digest an image needs."""
    layers = {digest for each in image.layers for digest in (each.diff_id, each.blob.digest)}
    return {image.digest, image.config_blob.digest, *layers}


class Machine(RuleBasedStateMachine):
    """The model: images by digest, what there is, names, and who holds what."""

    holders = Bundle("holders")
    images = Bundle("images")

    def __init__(self) -> None:
        super().__init__()
        self.outer = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="anchor-"))
        self.store = Store(self.folder)
        self.outer.callback(shutil.rmtree, self.folder)
        self.outer.enter_context(unsynced())
        self.known: dict[str, Image] = {}
        self.registered: set[str] = set()
        self.there: set[str] = set()
        self.names: dict[str, str] = {}
        self.living: list[Holder] = []
        self.partial: set[str] = set()
        self.count = 0

    def teardown(self) -> None:
        for holder in self.living:
            holder.block.close()
        self.store.prune(everything=True)
        for folder in ("blobs/sha256", "layers", "images", "names", "leases", "ingest"):
            assert hexes(self.store, folder) == set()
        self.outer.close()

    @initialize(target=holders)
    def first(self) -> Holder:
        return self._take()

    @rule(target=holders)
    def take(self) -> Holder:
        return self._take()

    def _take(self) -> Holder:
        self.count += 1
        block = ExitStack()
        lease = block.enter_context(self.store.lease(f"holder {self.count}"))
        assert isinstance(lease, _Lease)
        holder = Holder(self.count, lease, block)
        self.living.append(holder)
        return holder

    @rule(holder=consumes(holders), dies=st.booleans())
    def leave(self, holder: Holder, dies: bool) -> None:
        """Its block ends; or, as if its process had been killed, only its descriptor goes."""
        self.living.remove(holder)
        if not dies:
            holder.block.close()
            return
        fcntl.flock(holder.lease._file, fcntl.LOCK_UN)
        self.outer.push(holder.block)  # its file is the next one's to sweep

    @rule(target=images, holder=holders, seeds=SEEDS, label=st.sampled_from("xy"))
    def add(self, holder: Holder, seeds: list[int], label: str) -> str:
        image = add_image(self.store, holder.lease, *seeds, label=label)
        self.known[image.digest] = image
        self.registered.add(image.digest)
        self.there |= parts(image)
        self.partial -= {blob_descriptor(seed).digest for seed in seeds}
        holder.held |= parts(image)
        return image.digest

    @rule(holder=holders, seed=st.integers(0, 3), whole=st.booleans())
    def add_layer(self, holder: Holder, seed: int, whole: bool) -> None:
        """A layer without an image, or half a blob of one."""
        descriptor = blob_descriptor(seed)
        holder.held.add(descriptor.digest)
        with self.store.write_blob(holder.lease, descriptor) as writer:
            assert (writer is None) == (descriptor.digest in self.there)
            if writer is None:
                self.partial.discard(descriptor.digest)
            if writer is not None and not whole:
                assert (writer.position > 0) == (descriptor.digest in self.partial)
                writer.write(layer_blob(seed)[writer.position : 20])
                self.partial.add(descriptor.digest)
        if whole:
            added = self.store.add_blob(holder.lease, OCI_LAYER_GZIP, layer_blob(seed))
            layer = self.store.ensure_layer(holder.lease, added, None)
            assert layer.diff_id == diff_id(seed)
            self.there |= {descriptor.digest, layer.diff_id}  # a part may be left beside it
            holder.held.add(layer.diff_id)

    @rule(holder=holders, digest=images)
    def hold(self, holder: Holder, digest: str) -> None:
        holder.lease.hold(digest)
        holder.held.add(digest)

    @rule(name=NAMES, digest=images)
    def tag(self, name: str, digest: str) -> None:
        if digest in self.registered:
            self.store.tag(parse(name), digest)
            self.names[name] = digest
        else:
            with pytest.raises(ImageError):
                self.store.tag(parse(name), digest)

    @rule(name=NAMES)
    def untag(self, name: str) -> None:
        if name in self.names:
            assert self.store.untag(parse(name)) == self.names.pop(name)
        else:
            with pytest.raises(ImageError):
                self.store.untag(parse(name))

    @rule(everything=st.booleans())
    def prune(self, everything: bool) -> None:
        planned = self.store.prune(everything=everything, dry_run=True)
        self.agrees()
        removed = self.store.prune(everything=everything)
        assert {(each.kind, each.name) for each in removed} == {
            (each.kind, each.name) for each in planned
        }
        held = {digest for holder in self.living for digest in holder.held}
        freed_names = everything and not set(self.names.values()) <= held
        if everything:
            self.names = {name: to for name, to in self.names.items() if to in held}
        keep = held | set(self.names.values())
        for digest in keep & self.registered:
            keep |= parts(self.known[digest])
        assert bool(removed) == bool(
            self.there - keep or self.partial - (keep - self.there) or freed_names
        )
        self.there &= keep
        self.registered &= keep
        self.partial &= keep - self.there

    @precondition(lambda self: self.registered)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """Who holds it is told, and it is found by any digits that are its own."""
        image = self.known[data.draw(st.sampled_from(sorted(self.registered)))]
        digest = data.draw(st.sampled_from(sorted(parts(image))))
        expected = {
            f"holder {holder.number}"
            for holder in self.living
            if digest in holder.held
            or any(digest in parts(self.known[each]) for each in holder.held & self.registered)
        }
        assert set(self.store.holders(digest)) == expected
        assert self.store.find(image.digest) == image
        assert self.store.find(image.config_blob.digest[7:30]) == image

    @invariant()
    def agrees(self) -> None:
        """What is on the disk is what the model has, file by file."""
        blobs = {f"sha256:{each}" for each in hexes(self.store, "blobs/sha256")}
        layers = {f"sha256:{each}" for each in hexes(self.store, "layers")}
        assert blobs | layers == self.there
        images = {f"sha256:{each[:64]}" for each in hexes(self.store, "images")}
        assert images == self.registered
        parts_there = {f"sha256:{each[:64]}" for each in hexes(self.store, "ingest")}
        assert parts_there == self.partial
        listed = {(each.name, each.digest) for each in self.store.images()}
        named = {(str(parse(name)), digest) for name, digest in self.names.items()}
        unnamed = self.registered - set(self.names.values())
        assert listed == named | {(None, digest) for digest in unnamed}

    @invariant()
    def is_whole(self) -> None:
        assert_whole(self.store, range(4))


Machine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestStoreAgainstAModel = pytest.mark.root(pytest.mark.native(Machine.TestCase))
