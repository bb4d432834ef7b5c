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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, final

from attrs import frozen

from anchor_supervisor.images.model import Descriptor, Image, Layer
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.unpack import Limits


class Lease(Protocol):
    """What a process holds so that nothing it needs is removed meanwhile. Ends with it."""

    def hold(self, *digests: str) -> None:
        """From here on these digests (blobs, diff ids, manifests) stay, once they are there."""


class BlobWriter(Protocol):
    """A blob on its way. What has been written survives a broken connection, not a wrong digest."""

    @property
    def position(self) -> int:
        """Bytes that are there already, from an earlier try."""

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises HostError for a full disk."""

    def commit(self) -> Descriptor:
        """Verify digest and size, sync, and move into place. Raises ImageError, and forgets it."""


@final
@frozen
class NamedImage:
    """A line of `anchor images`: `name` None where nothing leads to it any more."""

    name: str | None
    digest: str
    added: float


@final
@frozen
class Removal:
    """What `prune` would take away, or took: kinds, short names, bytes."""

    kind: str
    name: str
    size: int


@final
@frozen
class Store:
    """The store beneath a data directory. Every method may be called by several processes."""

    data: Path

    def lease(self, holder: str) -> AbstractContextManager[Lease]:
        """Hold things for as long as the block lasts; `holder` is for people ("pull", "fleet x")."""
        raise NotImplementedError

    def blob(self, digest: str) -> Path | None:
        """Where a blob is; None where it is not."""
        raise NotImplementedError

    def read_json(self, descriptor: Descriptor) -> Mapping[str, Any]:
        """Read and verify a small JSON blob. Raises ImageError."""
        raise NotImplementedError

    def write_blob(
        self, lease: Lease, descriptor: Descriptor
    ) -> AbstractContextManager[BlobWriter | None]:
        """Begin or resume a blob whose digest and size are known; None: it is here already.

        Waits while another process writes the same one.
        """
        raise NotImplementedError

    def add_blob(self, lease: Lease, media_type: str, content: bytes) -> Descriptor:
        """Store a small blob."""
        raise NotImplementedError

    def add_blob_file(self, lease: Lease, media_type: str, source: BinaryIO) -> Descriptor:
        """Store a copy of a file, whatever its digest turns out to be (in-kernel copy where it can)."""
        raise NotImplementedError

    def ensure_layer(
        self,
        lease: Lease,
        blob: Descriptor,
        diff_id: str | None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Layer:
        """Unpack a blob that is in the store, once; `diff_id` None: whatever it turns out to be.

        Raises ImageError where the unpacked bytes are not those of `diff_id`.
        """
        raise NotImplementedError

    def layer_root(self, diff_id: str) -> Path:
        """Where the layer's content is. Raises ImageError where it is not in the store."""
        raise NotImplementedError

    def add_image(self, lease: Lease, manifest: Descriptor) -> Image:
        """Register an image whose manifest, configuration and layers are all in the store."""
        raise NotImplementedError

    def make_image(self, lease: Lease, config: Mapping[str, Any], layers: Sequence[Layer]) -> Image:
        """Write an OCI manifest and configuration over these layers, and register it.

        `config` is the whole configuration; its `rootfs` is filled in here.
        """
        raise NotImplementedError

    def tag(self, reference: Reference, digest: str) -> None:
        """Lead a name to an image that is registered; atomically, whatever it led to before."""
        raise NotImplementedError

    def untag(self, reference: Reference) -> str:
        """Forget a name; return the digest it led to. Raises ImageError where there is none."""
        raise NotImplementedError

    def image(self, digest: str) -> Image:
        """Return a registered image. Raises ImageError."""
        raise NotImplementedError

    def find(self, text: str) -> Image | None:
        """Find an image as people name it: a reference, a digest, or the first digits of one."""
        raise NotImplementedError

    def images(self) -> Iterator[NamedImage]:
        """Every name, and every registered image without one."""
        raise NotImplementedError

    def holders(self, digest: str) -> tuple[str, ...]:
        """Which living processes hold this digest, in their own words."""
        raise NotImplementedError

    def prune(
        self,
        *,
        everything: bool = False,
        dry_run: bool = False,
        on_wait: Callable[[], None] = print,
    ) -> tuple[Removal, ...]:
        """Remove what no name and no living lease leads to; `everything`: unused names as well."""
        raise NotImplementedError
