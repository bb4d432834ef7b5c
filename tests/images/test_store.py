"""An image is registered when all of it is here and is what it says; not a moment before."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.manifests import descriptor_json, json_bytes
from anchor_supervisor.images.model import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    MOST_LAYERS,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Layer,
)
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Lease, Store
from image_store import (
    add_image,
    assert_whole,
    blob_descriptor,
    diff_id,
    digest_of,
    hexes,
    layer_blob,
    tagged,
)

pytestmark = pytest.mark.root

CONFIG: dict[str, Any] = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def layer(store: Store, lease: Lease, seed: int) -> Layer:
    """A layer in the store."""
    blob = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(seed))
    return store.ensure_layer(lease, blob, diff_id(seed))


def manifest(
    store: Store, lease: Lease, layers: list[Descriptor], diff_ids: list[str], **more: Any
) -> Descriptor:
    """A manifest over these, and its configuration; nothing is checked."""
    document = {**CONFIG, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = store.add_blob(lease, OCI_CONFIG, json_bytes(document))
    text = {
        "schemaVersion": 2,
        "config": descriptor_json(config),
        "layers": [descriptor_json(each) for each in layers],
        **more,
    }
    return store.add_blob(lease, OCI_MANIFEST, json_bytes(text))


def test_an_image_is_made_of_layers_and_a_configuration(store: Store) -> None:
    """Read back as it was made; the configuration as its author wrote it, and its diff ids."""
    with store.lease("test") as lease:
        layers = [layer(store, lease, 0), layer(store, lease, 1)]
        image = store.make_image(lease, {**CONFIG, "rootfs": "whatever", "x": [1]}, layers)
        assert image.layers == tuple(layers)
        assert image.config == {
            **CONFIG,
            "x": [1],
            "rootfs": {"type": "layers", "diff_ids": [diff_id(0), diff_id(1)]},
        }
        assert image.size == sum(each.size for each in layers)
        assert store.image(image.digest) == image
        assert store.make_image(lease, image.config, layers) == image
    assert_whole(store)


def test_dockers_manifest_is_registered_as_it_came(store: Store) -> None:
    """Its bytes, its digest and its media types stay what they were."""
    with store.lease("pull") as lease:
        first = layer(store, lease, 0)
        config = store.add_blob(
            lease, DOCKER_CONFIG, json_bytes({**CONFIG, "rootfs": {"diff_ids": [diff_id(0)]}})
        )
        blob = Descriptor(DOCKER_LAYER_GZIP, first.blob.digest, first.blob.size)
        text = json_bytes(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": descriptor_json(config),
                "layers": [descriptor_json(blob)],
            }
        )
        added = store.add_blob(lease, DOCKER_MANIFEST, text)
        image = store.add_image(lease, added)
        assert image.digest == digest_of(text)
        assert image.layers == (Layer(diff_id(0), blob, first.size),)
        assert store.image(image.digest) == image


def test_nothing_is_registered_before_it_is_whole(store: Store) -> None:
    """A manifest, a configuration, a blob or a layer that is missing or another is named."""
    with store.lease("test") as lease:
        missing = Descriptor(OCI_MANIFEST, digest_of(b"missing"), 7)
        with pytest.raises(ImageError, match=f"`{missing.digest}` is not in the store"):
            store.add_image(lease, missing)
        lonely = store.add_blob(
            lease,
            OCI_MANIFEST,
            json_bytes(
                {
                    "schemaVersion": 2,
                    "config": descriptor_json(Descriptor(OCI_CONFIG, missing.digest, 7)),
                    "layers": [],
                }
            ),
        )
        with pytest.raises(ImageError, match=f"`{missing.digest}` is not in the store"):
            store.add_image(lease, lonely)
        one = layer(store, lease, 0)
        absent = blob_descriptor(1)
        for layers, diff_ids, words in (
            ([absent], [diff_id(0)], f"blob `{absent.digest}` of .* is not in the store"),
            ([one.blob], [diff_id(1)], f"layer `{diff_id(1)}` is not in the store"),
            ([one.blob], [], "names 0 layers, and its manifest 1"),
            ([one.blob], [diff_id(0)] * 2, "names 2 layers, and its manifest 1"),
            (
                [Descriptor(OCI_LAYER_GZIP, one.blob.digest, 1)],
                [diff_id(0)],
                "of 1 bytes is not in the store",
            ),
        ):
            with pytest.raises(ImageError, match=words):
                store.add_image(lease, manifest(store, lease, layers, diff_ids))
        both = manifest(store, lease, [one.blob], [diff_id(0)], manifests=[])
        with pytest.raises(ImageError, match="a manifest and an index at once"):
            store.add_image(lease, both)
        assert hexes(store, "images") == set()
    assert {each.kind for each in store.prune()} == {"blob", "layer"}


def test_there_is_an_end_to_layers(store: Store) -> None:
    """As many as overlayfs stacks are taken, and not one more; the same may come twice."""
    with store.lease("test") as lease:
        one = layer(store, lease, 0)
        assert len(store.make_image(lease, CONFIG, [one] * MOST_LAYERS).layers) == MOST_LAYERS
        with pytest.raises(ImageError, match="501 layers, and 500 are possible"):
            store.make_image(lease, CONFIG, [one] * (MOST_LAYERS + 1))


def test_only_the_owner_can_look_into_the_store(store: Store) -> None:
    """Nobody else reaches a set-id file of an image, whatever umask there was (CVE-2021-41091)."""
    old = os.umask(0)
    try:
        tagged(store, "a", 0)
        with store.lease("test"):
            top = store.data / "store"
            directories = [top, *(top / each for each in os.listdir(top) if each != "lock")]
            directories += [top / "blobs/sha256", store.layer_root(diff_id(0)).parent]
            for path in directories:
                assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
            for folder in ("leases", "blobs/sha256", "images", "names"):
                for path in (top / folder).iterdir():
                    assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert stat.S_IMODE((top / "lock").stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_an_image_that_is_not_here_is_said_so(store: Store) -> None:
    """By its digest."""
    digest = digest_of(b"x")
    with pytest.raises(ImageError, match=f"image `{digest}` is not in the store"):
        store.image(digest)


def test_an_image_that_goes_while_it_is_looked_for_is_not_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the finding and the reading it may be pruned: that is as if it had not been."""
    image = tagged(store, "a", 0)
    real = Store.image

    def pruned_before(self: Store, digest: str) -> Any:
        store.untag(parse("a"))
        store.prune()
        return real(self, digest)

    monkeypatch.setattr(Store, "image", pruned_before)
    assert store.find(image.digest) is None


def test_a_damaged_configuration_is_said_so(store: Store) -> None:
    """Found, and then refused by name: a spoilt image must not look like a missing one."""
    image = tagged(store, "a", 0)
    path = store.blob(image.config_blob.digest)
    assert path is not None
    path.write_bytes(b"{}")
    with pytest.raises(ImageError, match=f"blob `{image.config_blob.digest}` is damaged"):
        store.find("a")


def test_two_stores_do_not_meet(data_dir: Path) -> None:
    """A store is what is beneath its data directory."""
    one, two = Store(data_dir / "one"), Store(data_dir / "two")
    image = tagged(one, "a", 0)
    assert two.find("a") is None
    with two.lease("test") as lease:
        assert add_image(two, lease, 0, label="a") == image
