"""Manifests and configurations are untrusted: read right, or an ImageError, nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.manifests import (
    json_bytes,
    manifest_json,
    parse_diff_ids,
    parse_manifest,
)
from anchor_supervisor.images.model import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    MOST_LAYERS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Layer,
)
from image_store import digest_of

DIGEST = digest_of(b"config")
CONFIG = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 6}
LAYER = {"mediaType": OCI_LAYER_GZIP, "digest": digest_of(b"layer"), "size": 5}
GOOD: dict[str, Any] = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER, LAYER]}
OCI = Descriptor(OCI_MANIFEST, digest_of(b"manifest"), 8)
DOCKER = Descriptor(DOCKER_MANIFEST, OCI.digest, 8)


def test_both_kinds_of_manifest_are_read() -> None:
    """OCI's, whose media type may be left out, and docker's; layers in their order."""
    layer = Descriptor(OCI_LAYER_GZIP, digest_of(b"layer"), 5)
    assert parse_manifest(OCI, GOOD) == (Descriptor(OCI_CONFIG, DIGEST, 6), (layer, layer))
    docker = {
        **GOOD,
        "mediaType": DOCKER_MANIFEST,
        "config": {**CONFIG, "mediaType": DOCKER_CONFIG},
        "layers": [{**LAYER, "mediaType": DOCKER_LAYER_GZIP, "urls": ["https://x"]}],
    }
    config, layers = parse_manifest(DOCKER, docker)
    assert config.media_type == DOCKER_CONFIG
    assert [each.media_type for each in layers] == [DOCKER_LAYER_GZIP]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manifests": []}, "a manifest and an index at once"),
        ({"fsLayers": []}, "a manifest and an index at once"),
        ({"mediaType": OCI_INDEX}, "and says it is"),
        ({"mediaType": 7}, "and says it is 7"),
        ({"schemaVersion": 1}, "schema version 1"),
        ({"schemaVersion": None}, "schema version None"),
        ({"config": None}, "is not a descriptor"),
        ({"config": {**CONFIG, "mediaType": "application/vnd.wasm.config"}}, "no container image"),
        ({"config": {**CONFIG, "size": -1}}, "no usable size: -1"),
        ({"config": {**CONFIG, "size": 1 << 50}}, "no usable size"),
        ({"config": {**CONFIG, "size": True}}, "no usable size: True"),
        ({"config": {**CONFIG, "size": "6"}}, "no usable size: '6'"),
        ({"config": {**CONFIG, "digest": "sha256:../x"}}, "is not a sha256 digest"),
        ({"config": {**CONFIG, "mediaType": None}}, "no media type"),
        ({"layers": None}, "no list of layers"),
        ({"layers": {}}, "no list of layers"),
        ({"layers": [7]}, "is not a descriptor: 7"),
        ({"layers": [LAYER] * (MOST_LAYERS + 1)}, "501 layers, and 500 are possible"),
        ({"layers": [{**LAYER, "mediaType": "text/html"}]}, "unknown kind 'text/html'"),
    ],
)
def test_a_malformed_manifest_is_refused(change: dict[str, Any], words: str) -> None:
    """Each wrong member is named with what it is."""
    with pytest.raises(ImageError, match=words):
        parse_manifest(OCI, GOOD | change)


def test_only_manifests_are_read_as_manifests() -> None:
    """An index, or anything else, is refused by its media type whatever it holds."""
    with pytest.raises(ImageError, match="is not an image manifest"):
        parse_manifest(Descriptor(OCI_INDEX, OCI.digest, 8), GOOD)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "no list of diff ids"),
        ({"rootfs": []}, "no list of diff ids"),
        ({"rootfs": {"diff_ids": DIGEST}}, "no list of diff ids"),
        ({"rootfs": {"diff_ids": [DIGEST]}}, "names 1 layers, and its manifest 2"),
        ({"rootfs": {"diff_ids": [DIGEST, 7]}}, "7 is not a sha256 digest"),
        ({"rootfs": {"diff_ids": [DIGEST] * 2}, "config": []}, "malformed `config`"),
        ({"rootfs": {"diff_ids": [DIGEST] * 2}, "history": {}}, "malformed `history`"),
        ({"rootfs": {"diff_ids": [DIGEST] * 2}, "os": 7}, "malformed `os`"),
    ],
)
def test_a_malformed_configuration_is_refused(config: dict[str, Any], words: str) -> None:
    """What we act on must be what it should be; whose it is is said."""
    with pytest.raises(ImageError, match=f"the configuration of x .*{words}|{words}"):
        parse_diff_ids(config, 2, "the configuration of x")


def test_diff_ids_are_as_many_as_layers() -> None:
    """In their order; an image without layers may leave them out."""
    config = {"rootfs": {"diff_ids": [DIGEST, OCI.digest]}, "config": None, "unknown": 1}
    assert parse_diff_ids(config, 2, "x") == (DIGEST, OCI.digest)
    assert parse_diff_ids({}, 0, "x") == ()


def test_what_we_write_we_read() -> None:
    """Our own manifests are read back as they were meant, and are the same bytes each time."""
    config = Descriptor(OCI_CONFIG, DIGEST, 6)
    layer = Layer(digest_of(b"diff"), Descriptor(OCI_LAYER_GZIP, digest_of(b"layer"), 5))
    content = manifest_json(config, [layer])
    assert parse_manifest(OCI, json.loads(content)) == (config, (layer.blob,))
    assert manifest_json(config, [layer]) == content
    assert json.loads(json_bytes({"lone": "\ud800"})) == {"lone": "\ud800"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "mediaType", "manifests", "rootfs"]), JSON), JSON)
def test_any_json_is_read_or_refused(change: dict[str, Any], rootfs: object) -> None:
    """No JSON whatever raises anything but ImageError."""
    for document in (change, GOOD | change, {"rootfs": {"diff_ids": rootfs}}):
        with contextlib.suppress(ImageError):
            parse_manifest(OCI, document)
        with contextlib.suppress(ImageError):
            parse_diff_ids(document, 1, "x")
