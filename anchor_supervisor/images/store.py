"""The image store: blobs, unpacked layers, images and their names, shared by every fleet.

    <data>/store/lock                  flock: shared to add, exclusive to remove; held for moments
    <data>/store/leases/<random>       what a living process needs; its flock ends with its holder
    <data>/store/ingest/               blobs and layers on their way; swept where nobody holds them
    <data>/store/blobs/sha256/<hex>    manifests, configurations, layers as they travel
    <data>/store/layers/<hex>/root/    what a plain tar of that sha256 unpacks to, beside facts.json
    <data>/store/images/<hex>.json     an image: its manifest's digest, added once it is whole
    <data>/store/names/<quoted>        a name's image

Everything is written aside, synced and renamed. What no name and no lease leads to may be removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, final

from anchor_supervisor.errors import HostError, ImageError, KernelError
from anchor_supervisor.images import blobs, catalogue, layer_store, leases, pruning
from anchor_supervisor.images.blobs import BlobWriter, NewBlob
from anchor_supervisor.images.catalogue import NamedImage, Record, short
from anchor_supervisor.images.leases import Lease
from anchor_supervisor.images.manifests import (
    json_bytes,
    manifest_json,
    parse_diff_ids,
    parse_manifest,
)
from anchor_supervisor.images.model import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Layer,
    Limits,
)
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.pruning import Removal
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.stack import stack
from anchor_supervisor.images.store_layout import Layout, told
from anchor_supervisor.values import frozen

__all__ = ["BlobWriter", "Lease", "NamedImage", "NewBlob", "Removal", "Store"]


def _say_nothing() -> None:
    """Wait in silence."""


@final
@frozen
class Store:
    """The store beneath a data directory. Every method may be called by several processes.

    And by several threads, with one lease. What is looked at without a lease on it may be gone at
    the next look.
    """

    data: Path

    @property
    def layout(self) -> Layout:
        """Where things are."""
        return Layout(self.data / "store")

    def lease(
        self, holder: str, *, outlived_by: Path | None = None
    ) -> AbstractContextManager[Lease]:
        """Hold things for as long as the block lasts; `holder` is for people: "pull", "fleet x".

        Where the process is killed, they are held for as long as `outlived_by` is there.
        """
        return leases.lease(self.layout, holder, outlived_by)

    def blob(self, digest: str) -> Path | None:
        """Where a blob is; None where it is not."""
        return blobs.blob_path(self.layout, digest)

    def read_json(self, descriptor: Descriptor) -> Mapping[str, Any]:
        """Read and verify a small JSON blob. Raises ImageError."""
        return blobs.read_json(self.layout, descriptor)

    def write_blob(
        self, lease: Lease, descriptor: Descriptor
    ) -> AbstractContextManager[BlobWriter | None]:
        """Begin or resume a blob whose digest and size are known; None: it is here already.

        Waits while another process writes the same one, so a thread writes one at a time.
        """
        return blobs.write_blob(self.layout, lease, descriptor)

    def new_blob(self, lease: Lease, media_type: str) -> AbstractContextManager[NewBlob]:
        """Begin a blob whose digest nobody knows yet; it is gone unless it is committed."""
        return blobs.new_blob(self.layout, lease, media_type)

    def add_blob(self, lease: Lease, media_type: str, content: bytes) -> Descriptor:
        """Store a small blob."""
        with self.new_blob(lease, media_type) as new:
            new.write(content)
            return new.commit()

    def add_blob_file(self, lease: Lease, media_type: str, source: BinaryIO) -> Descriptor:
        """Store a copy of a file, whatever its digest is; the kernel copies where it can."""
        with self.new_blob(lease, media_type) as new:
            new.copy(source)
            return new.commit()

    def ensure_layer(
        self,
        lease: Lease,
        blob: Descriptor,
        diff_id: str | None,
        *,
        is_own: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Layer:
        """Unpack a blob that is in the store, once; `diff_id` None: whatever it turns out to be.

        `diff_id` is an image's word for what the whole layer is; `is_own`: it is only what these
        bytes were found to be, and does not say that they are whole: their end marker has to.
        Tells `progress` that the blob is unpacked and how far that is; its end is the caller's to
        tell. Raises ImageError where the unpacked bytes are not those of `diff_id`.
        """
        lease.hold(blob.digest, *([] if diff_id is None else [diff_id]))
        facts = None if diff_id is None else layer_store.layer_facts(self.layout, diff_id)
        if diff_id is not None and facts is not None:
            return Layer(diff_id, blob, facts.size)
        path = self.blob(blob.digest)
        if path is None:
            message = f"blob `{blob.digest}` is not in the store"
            raise ImageError(message)
        progress, item = progress or Silent(), short(blob.digest)
        progress.begin(item, "unpacking", blob.size)

        def advance(count: int) -> None:
            progress.advance(item, count)

        with _naming(f"layer `{item}`"), contextlib.ExitStack() as opened:
            with told("read", path):
                source = opened.enter_context(path.open("rb"))
            name, facts = layer_store.unpack_layer(
                *(self.layout, lease, source, diff_id, limits, advance),
                is_known=diff_id is not None and not is_own,
            )
        return Layer(name, blob, facts.size)

    def ensure_archive(
        self,
        lease: Lease,
        archive: Path,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> str:
        """Unpack an archive of a root file system, once; return the digest of its own bytes.

        That is what `layer_root` takes. Blocks while another process unpacks the same. Raises
        ImageError, naming the archive, where it is missing, malformed, or a saved image instead.
        """
        return layer_store.unpack_archive(self.layout, lease, archive, limits)

    def layer_root(self, diff_id: str) -> Path:
        """Where the layer's content is. Raises ImageError where it is not in the store."""
        return layer_store.layer_root(self.layout, diff_id)

    def stack(self, lease: Lease, diff_ids: Sequence[str]) -> tuple[Path, ...]:
        """Return the directories of these layers (the lowest first), the uppermost first.

        What a user of several layers takes: it leaves out what an upper layer hides as a whole,
        and adds what puts guessed owners and modes right. Raises ImageError where one is missing.
        """
        return stack(self.layout, lease, diff_ids)

    def add_image(self, lease: Lease, manifest: Descriptor) -> Image:
        """Register an image whose manifest, configuration and layers are all in the store."""
        lease.hold(manifest.digest)
        config_blob, layer_blobs = parse_manifest(manifest, self.read_json(manifest))
        lease.hold(config_blob.digest)
        config = self.read_json(config_blob)
        words = f"the configuration of image `{short(manifest.digest)}`"
        diff_ids = parse_diff_ids(config, len(layer_blobs), words)
        lease.hold(*(blob.digest for blob in layer_blobs), *diff_ids)
        layers = tuple(map(self._whole_layer, layer_blobs, diff_ids))
        catalogue.register(self.layout, Record(manifest, config_blob, layers))
        return Image(manifest, config_blob, config, layers)

    def _whole_layer(self, blob: Descriptor, diff_id: str) -> Layer:
        """Look whether both forms of a layer are here. Raises ImageError."""
        path = self.blob(blob.digest)
        if path is None or path.stat().st_size != blob.size:
            message = f"blob `{blob.digest}` of {blob.size} bytes is not in the store"
            raise ImageError(message)
        facts = layer_store.layer_facts(self.layout, diff_id)
        if facts is None:
            message = f"layer `{diff_id}` is not in the store"
            raise ImageError(message)
        return Layer(diff_id, blob, facts.size)

    def make_image(self, lease: Lease, config: Mapping[str, Any], layers: Sequence[Layer]) -> Image:
        """Write an OCI manifest and configuration over these layers, and register it.

        `config` is the whole configuration; its `rootfs` is filled in here.
        """
        rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
        content = json_bytes({**config, "rootfs": rootfs})
        config_blob = self.add_blob(lease, OCI_CONFIG, content)
        manifest = self.add_blob(lease, OCI_MANIFEST, manifest_json(config_blob, layers))
        return self.add_image(lease, manifest)

    def tag(self, reference: Reference, digest: str) -> None:
        """Lead a name to an image that is registered; atomically, whatever it led to before."""
        catalogue.tag(self.layout, reference, digest)

    def untag(self, reference: Reference) -> str:
        """Forget a name; return the digest it led to. Raises ImageError where there is none."""
        return catalogue.untag(self.layout, reference)

    def image(self, digest: str) -> Image:
        """Return a registered image. Raises ImageError."""
        return catalogue.image(self.layout, digest)

    def find(self, text: str) -> Image | None:
        """Find an image as people name it: a reference, a digest, or the first digits of one.

        A configuration's digest (docker's image id) counts too. Raises ImageError for what cannot
        be a name, and for digits that several images begin with.
        """
        digest = catalogue.find(self.layout, text)
        if digest is None:
            return None
        try:
            return self.image(digest)
        except ImageError:
            if catalogue.record(self.layout, digest) is None:
                return None  # it went while we looked
            raise

    def images(self) -> Iterator[NamedImage]:
        """Every name (in full), and every registered image without one."""
        return catalogue.listed(self.layout)

    def holders(self, digest: str) -> tuple[str, ...]:
        """Which living processes hold this digest or an image made of it, in their own words."""
        return pruning.holders(self.layout, digest)

    def remove(self, digest: str) -> tuple[Removal, ...]:
        """Remove an image that no name and no living lease leads to, and what no other needs."""
        return pruning.prune(self.layout, only=digest, on_wait=_say_nothing)

    def prune(
        self,
        *,
        everything: bool = False,
        dry_run: bool = False,
        on_wait: Callable[[], None] = _say_nothing,
    ) -> tuple[Removal, ...]:
        """Remove what no name and no living lease leads to; `everything`: unused names as well.

        `dry_run` gives the same list and removes nothing. `on_wait` is called where others are in
        the way, for the moment that takes.
        """
        return pruning.prune(self.layout, everything=everything, dry_run=dry_run, on_wait=on_wait)


@contextlib.contextmanager
def _naming(words: str) -> Iterator[None]:
    """Say which thing an error is about."""
    try:
        yield
    except (ImageError, HostError) as error:
        if isinstance(error, KernelError):
            raise
        message = f"{words}: {error.message}"
        raise type(error)(message, hint=error.hint) from error
