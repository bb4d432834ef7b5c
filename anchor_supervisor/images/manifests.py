"""What a manifest and a configuration say, read from JSON that nobody vouches for. Pure.

Only the shapes that we act on are checked; whatever else is in there is its author's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.model import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    MANIFESTS,
    MOST_LAYERS,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Layer,
    checked_digest,
)

_UNDISTRIBUTED: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYERS: Final = (
    *(OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP),
    *(f"{DOCKER_LAYER}.zstd", f"{DOCKER_LAYER}.zst"),
    *(_UNDISTRIBUTED, f"{_UNDISTRIBUTED}+gzip", f"{_UNDISTRIBUTED}+zstd"),
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)
CONFIGS: Final = (OCI_CONFIG, DOCKER_CONFIG)
LARGEST_BLOB: Final = 1 << 40  # bytes; what is larger is a lie that would be waited for


def parse_descriptor(value: object, words: str) -> Descriptor:
    """Read a descriptor; `words` say whose it is. Raises ImageError."""
    if not isinstance(value, Mapping):
        message = f"{words} is not a descriptor: {value!r:.100}"
        raise ImageError(message)
    media_type, size = value.get("mediaType"), value.get("size")
    if not isinstance(media_type, str):
        message = f"{words} has no media type: {media_type!r:.100}"
        raise ImageError(message)
    if type(size) is not int or not 0 <= size <= LARGEST_BLOB:
        message = f"{words} has no usable size: {size!r:.100}"
        raise ImageError(message)
    return Descriptor(media_type, checked_digest(value.get("digest")), size)


def descriptor_json(descriptor: Descriptor) -> dict[str, Any]:
    """Write a descriptor as JSON has it."""
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def parse_manifest(
    manifest: Descriptor, document: Mapping[str, Any]
) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """Read the configuration's and the layers' descriptors, the lowest first. Raises ImageError.

    A document that could be read as two things is refused, whatever its media type
    (CVE-2021-41190).
    """
    words = f"manifest `{manifest.digest}`"
    if manifest.media_type not in MANIFESTS:
        message = f"{words} is not an image manifest: {manifest.media_type!r:.100}"
        raise ImageError(message)
    own = document.get("mediaType", manifest.media_type)
    if own != manifest.media_type or "manifests" in document or "fsLayers" in document:
        message = f"{words} came as `{manifest.media_type}` and says it is {own!r:.100}"
        if own == manifest.media_type:
            message = f"{words} is a manifest and an index at once"
        raise ImageError(message)
    if document.get("schemaVersion") != 2:
        message = f"{words} has the schema version {document.get('schemaVersion')!r:.100}"
        raise ImageError(message)
    config = parse_descriptor(document.get("config"), f"the configuration of {words}")
    if config.media_type not in CONFIGS:
        message = f"{words} is no container image: it has a {config.media_type!r:.100}"
        raise ImageError(message)
    layers = document.get("layers")
    if not isinstance(layers, list):
        message = f"{words} has no list of layers"
        raise ImageError(message)
    if len(layers) > MOST_LAYERS:
        message = f"{words} has {len(layers)} layers, and {MOST_LAYERS} are possible"
        raise ImageError(message)
    return config, tuple(_layer(each, words) for each in layers)


def _layer(value: object, words: str) -> Descriptor:
    layer = parse_descriptor(value, f"a layer of {words}")
    if layer.media_type not in LAYERS:
        message = f"{words} has a layer of the unknown kind {layer.media_type!r:.100}"
        raise ImageError(message)
    return layer


def parse_diff_ids(config: Mapping[str, Any], count: int, words: str) -> tuple[str, ...]:
    """Read the layers' diff ids, and look at the types of what else we use. Raises ImageError."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
    found = [] if found is None and not count else found
    if not isinstance(found, list):
        message = f"{words} has no list of diff ids"
        raise ImageError(message)
    if len(found) != count:
        message = f"{words} names {len(found)} layers, and its manifest {count}"
        raise ImageError(message)
    for key, kind in (("config", Mapping), ("history", list), ("architecture", str), ("os", str)):
        if not isinstance(config.get(key), kind | None):
            message = f"{words} has a malformed `{key}`: {config[key]!r:.100}"
            raise ImageError(message)
    return tuple(checked_digest(each) for each in found)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Write JSON the one way we do, so that equal documents have equal digests."""
    return json.dumps(document, separators=(",", ":")).encode()


def manifest_json(config: Descriptor, layers: Sequence[Layer]) -> bytes:
    """Write an OCI manifest."""
    return json_bytes(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor_json(config),
            "layers": [descriptor_json(layer.blob) for layer in layers],
        }
    )
