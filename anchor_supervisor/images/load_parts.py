"""What every kind of archive is made of in the end: layers, a configuration and a manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import catalogue, indexes
from anchor_supervisor.images.decompress import compression_of, decompressed
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.manifests import json_bytes, manifest_json
from anchor_supervisor.images.model import (
    MOST_LAYERS,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Layer,
    Limits,
    Platform,
    machine_platform,
)
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.values import field, frozen

_MAGIC: Final = 16  # bytes that tell how a file is compressed
_KEPT: Final = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
"""What layers may travel as; anything else is compressed anew."""


@final
@frozen
class Parts:
    """Where the parts of images go while they are read from an archive."""

    store: Store
    lease: Lease
    progress: Progress
    limits: Limits
    platform: Platform | None = None
    known: dict[str, Layer] = field(factory=dict, repr=False)

    def check_platform(self, config: Mapping[str, Any]) -> None:
        """Refuse an image that is not for `platform`; note one that this machine cannot run."""
        wanted = self.platform or machine_platform()
        try:
            indexes.check_platform(config, wanted, asked=self.platform is not None)
        except ImageError as error:
            if self.platform is not None:
                raise
            self.progress.note(error.message)

    def layer(self, file: BinaryIO, item: str, diff_id: str | None) -> Layer:
        """Store a tar as a layer, kept byte for byte where registries take it as it is.

        A layer that an image here has already is that image's: its digest says what it is.
        """
        known = None if diff_id is None else self._known(diff_id)
        if known is not None:
            self.progress.end(item, "already here")
            return known
        media_type = _KEPT.get(compression(file) or "")
        self.progress.begin(item, "reading")
        if media_type is not None:
            blob = self.store.add_blob_file(self.lease, media_type, file)
            self.progress.begin(item, "unpacking")
            layer = self.store.ensure_layer(self.lease, blob, diff_id, limits=self.limits)
        else:
            layer = self._written(item, plain(file, self.limits), diff_id)
        self.known[layer.diff_id] = layer
        self.progress.end(item, "imported")
        return layer

    def _known(self, diff_id: str) -> Layer | None:
        """Find the layer in an image of the store; held first, since it may be on its way out."""
        layer = self.known.get(diff_id)
        if layer is None:
            return None
        self.lease.hold(diff_id, layer.blob.digest)
        if self.store.blob(layer.blob.digest) is None:
            return None
        return self.store.ensure_layer(self.lease, layer.blob, diff_id, limits=self.limits)

    def _written(self, item: str, pieces: Iterable[bytes], diff_id: str | None) -> Layer:
        with LayerWriter(self.store, self.lease, limits=self.limits) as writer:
            for piece in pieces:
                writer.write(piece)
                self.progress.advance(item, len(piece))
            self.progress.begin(item, "unpacking")
            return writer.finish(diff_id)

    def small(self, media_type: str, content: bytes) -> Descriptor:
        """Store a small blob as it is."""
        return self.store.add_blob(self.lease, media_type, content)

    def manifest(self, config: Descriptor, layers: Sequence[Layer]) -> Descriptor:
        """Write the manifest that an archive of another format does not have."""
        return self.small(OCI_MANIFEST, manifest_json(config, layers))

    def image(self, config: Mapping[str, Any], layers: Sequence[Layer]) -> Descriptor:
        """Write configuration and manifest of an image that had neither."""
        rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
        content = json_bytes({**config, "rootfs": rootfs})
        return self.manifest(self.small(OCI_CONFIG, content), layers)


@final
@frozen
class Planned:
    """An image found in an archive; nothing has been stored of it before `prepare` is called.

    `names` are what the archive calls it, unread; `tag` is a name without a repository.
    """

    prepare: Callable[[Parts], Descriptor]
    names: tuple[str, ...] = ()
    tag: str | None = None


def known_layers(store: Store) -> dict[str, Layer]:
    """Give every layer of the store's images, by its diff id."""
    found = {}
    for digest in catalogue.registered(store.layout):
        with contextlib.suppress(ImageError):  # a damaged one is not what is asked about
            record = catalogue.record(store.layout, digest)
            found.update({layer.diff_id: layer for layer in record.layers} if record else {})
    return found


def compression(file: BinaryIO) -> str | None:
    """Say how a file that can be sought in is compressed, by its first bytes; go back to them."""
    start = file.read(_MAGIC)
    file.seek(0)
    return compression_of(start)


def plain(file: BinaryIO, limits: Limits) -> Iterator[bytes]:
    """Give a file's bytes unpacked, and no more than an archive may have."""
    total = 0
    for piece in decompressed(file):
        total += len(piece)
        if total > limits.size:
            message = f"the archive unpacks to more than {limits.size} bytes"
            raise ImageError(message)
        yield piece


def check_count(layers: Sequence[object]) -> None:
    """Refuse what could not be mounted, before anything is read."""
    if len(layers) > MOST_LAYERS:
        message = f"the archive's image has {len(layers)} layers; at most {MOST_LAYERS} can be used"
        raise ImageError(message)


def platform_facts(platform: Platform) -> dict[str, str]:
    """Say in a configuration's words what the image runs on."""
    facts = {"architecture": platform.architecture, "os": platform.os}
    return {**facts, "variant": platform.variant} if platform.variant else facts
