"""What every kind of archive is made of in the end: layers, a configuration and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, final

from attrs import frozen

from anchor_supervisor.errors import ImageError
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
    Platform,
)
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.images.unpack import Limits

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

    def layer(self, file: BinaryIO, item: str, diff_id: str | None) -> Layer:
        """Store a tar as a layer, kept byte for byte where registries take it as it is."""
        media_type = _KEPT.get(compression(file) or "")
        self.progress.begin(item, "reading")
        if media_type is not None:
            blob = self.store.add_blob_file(self.lease, media_type, file)
            layer = self.store.ensure_layer(self.lease, blob, diff_id, limits=self.limits)
        else:
            layer = self._written(file, item)
        if diff_id is not None and layer.diff_id != diff_id:
            message = f"the archive's layer `{item}` does not have the digest its image names"
            raise ImageError(message)
        self.progress.end(item, "read")
        return layer

    def _written(self, file: BinaryIO, item: str) -> Layer:
        with LayerWriter(self.store, self.lease, limits=self.limits) as writer:
            for piece in plain(file, self.limits):
                writer.write(piece)
                self.progress.advance(item, len(piece))
            return writer.finish()

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

    `names` are whole names the archive gives it; `tag` is one without a repository.
    """

    prepare: Callable[[Parts], Descriptor]
    names: tuple[Reference, ...] = ()
    tag: str | None = None


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
