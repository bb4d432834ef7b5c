"""OCI layouts, as directories and tars, honest and hostile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load import load, load_named
from anchor_supervisor.images.model import (
    LARGEST_JSON,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Platform,
)
from anchor_supervisor.images.store import Store
from image_archives import (
    Files,
    as_json,
    blob,
    config,
    listing,
    oci,
    oci_index,
    oci_layout,
    oci_manifest,
    write_directory,
    write_tar,
)
from image_store import (
    assert_only,
    digest_of,
    expected_tree,
    layer_blob,
    layer_tar,
    name,
    tagged,
    tree,
    unsynced,
)

pytestmark = pytest.mark.root

WHOLE = "io.containerd.image.name"
REFERENCE = "org.opencontainers.image.ref.name"


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def _entry(files: Files) -> dict[str, Any]:
    index = files["index.json"]
    assert isinstance(index, bytes)
    found: dict[str, Any] = json.loads(index)["manifests"][0]
    return found


@pytest.mark.parametrize("write", [write_tar, write_directory])
def test_a_layout_keeps_its_digest(
    store: Store, tmp_path: Path, write: Callable[[Path, Files], Path]
) -> None:
    """The image is the manifest that the layout has, and its layers are unpacked."""
    files = oci("docker.io/library/one:1", 1, 2)
    (loaded,) = load_named(write(tmp_path / "x", files), store, None)
    assert loaded.image.digest == _entry(files)["digest"]
    assert loaded.names == (name("one:1"),)
    for layer, seed in zip(loaded.image.layers, (1, 2), strict=True):
        assert tree(store.layer_root(layer.diff_id)) == expected_tree(layer_tar(seed))
    assert_only(store, loaded.image)


@pytest.mark.parametrize(
    ("annotations", "called"),
    [
        ({WHOLE: "docker.io/library/a:1", REFERENCE: "1"}, "a:1"),
        ({REFERENCE: "ghcr.io/b/c:2"}, "ghcr.io/b/c:2"),
        ({REFERENCE: "b/c"}, "b/c:latest"),
        ({REFERENCE: "1.36"}, "box:1.36"),
        ({}, "box:latest"),
    ],
)
def test_names_are_in_annotations(
    store: Store, tmp_path: Path, annotations: Mapping[str, str], called: str
) -> None:
    """A whole name is one; a tag alone belongs to the file's name; nothing at all is the file's."""
    files: Files = {}
    entry = oci_manifest(files, 1)
    layout = oci_layout(files, {**entry, "annotations": annotations})
    (loaded,) = load_named(write_tar(tmp_path / "box.tar", layout), store, None)
    assert [each.familiar for each in loaded.names] == [called]


def test_every_tag_of_a_layout(store: Store, tmp_path: Path) -> None:
    """A layout of several tags, as umoci keeps them, gives them all; NAME can be only one's."""
    files: Files = {}
    entries = [
        {**oci_manifest(files, seed), "annotations": {REFERENCE: f"{seed}.0"}} for seed in (1, 2)
    ]
    path = write_directory(tmp_path / "tools", oci_layout(files, *entries))
    found = load_named(path, store, None)
    assert [one.names[0].familiar for one in found] == ["tools:1.0", "tools:2.0"]
    with pytest.raises(ImageError, match="holds 2 images") as caught:
        load(path, store, name("x"))
    assert caught.value.hint == "leave the name out; inside are 1.0, 2.0"


def _of_platforms(nested: int) -> Files:
    files: Files = {}
    entries = [
        {
            **oci_manifest(files, 1, architecture=one),
            "platform": {"os": "linux", "architecture": one},
        }
        for one in ("amd64", "arm64")
    ]
    unknown = {"os": "unknown", "architecture": "unknown"}
    entries.append({**blob(files, b"{}", OCI_MANIFEST), "platform": unknown})
    for _ in range(nested):
        entries = [oci_index(files, *entries)]
    return oci_layout(files, *entries)


@pytest.mark.parametrize("nested", [0, 1, 3])
def test_the_image_for_the_platform(store: Store, tmp_path: Path, nested: int) -> None:
    """Of an index only the wanted platform's image comes in; what is not there is told."""
    path = write_tar(tmp_path / "x.tar", _of_platforms(nested))
    for architecture in ("arm64", "amd64"):
        platform = Platform("linux", architecture)
        (image,) = load(path, store, None, platform=platform)
        assert image.config["architecture"] == architecture
    with pytest.raises(ImageError, match="is not for `linux/s390x`") as caught:
        load(path, store, None, platform=Platform("linux", "s390x"))
    assert caught.value.hint == "it is for linux/amd64, linux/arm64: say which with `--platform`"


def test_links_stay_inside_a_directory(store: Store, tmp_path: Path) -> None:
    """A blob may be a link within the layout; one that leads out leads to nothing."""
    files = oci("a:1", 1)
    path = write_directory(tmp_path / "x", files)
    inside = path / "blobs/sha256" / digest_of(layer_blob(1))[7:]
    inside.rename(path / "layer")
    inside.symlink_to("/layer")
    (image,) = load(path, store, None)
    assert image.digest == _entry(files)["digest"]
    store.untag(name("a:1"))
    store.prune()
    (path / "layer").rename(tmp_path / "layer")
    inside.unlink()
    inside.symlink_to("../../../layer")
    with pytest.raises(ImageError, match=r"the archive has no `blobs/sha256/\w+`"):
        load(path, store, None)


def test_a_pipe_is_no_blob(store: Store, tmp_path: Path) -> None:
    """A FIFO in a layout is refused at once, and nobody waits for its writer."""
    path = write_directory(tmp_path / "x", oci("a:1", 1))
    fifo = path / "blobs/sha256" / digest_of(layer_blob(1))[7:]
    fifo.unlink()
    os.mkfifo(fifo)
    with pytest.raises(ImageError, match="is not a plain file"):
        load(path, store, None)


def _without(content: bytes) -> Callable[[Files], Files]:
    return lambda files: {key: value for key, value in files.items() if value != content}


def _instead(content: bytes, other: bytes) -> Callable[[Files], Files]:
    return lambda files: {key: other if value == content else value for key, value in files.items()}


def _entry_with(**fields: object) -> Callable[[Files], Files]:
    return lambda files: oci_layout(files, {**_entry(files), **fields})


def _manifest_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Files], Files]:
    """The manifest as it is after `change`, with a digest that is right."""

    def changed(files: Files) -> Files:
        content = files[f"blobs/sha256/{_entry(files)['digest'][7:]}"]
        assert isinstance(content, bytes)
        value = json.loads(content)
        change(value)
        files = dict(files)
        return oci_layout(files, blob(files, as_json(value), OCI_MANIFEST))

    return changed


def _with_config(content: bytes) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        files = dict(files)
        found = blob(files, content, "application/vnd.oci.image.config.v1+json")
        return _manifest_with(lambda value: value.update(config=found))(files)

    return changed


def _deeply_nested(files: Files) -> Files:
    files, entry = dict(files), _entry(files)
    for _ in range(9):
        entry = oci_index(files, entry)
    return oci_layout(files, entry)


def _index(content: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, "index.json": content}


_TWO = [{"digest": digest_of(b""), "size": 0, "mediaType": OCI_LAYER_GZIP}] * 501

HOSTILE: dict[str, tuple[Callable[[Files], Files], str]] = {
    "missing layer": (_without(layer_blob(1)), r"the archive has no `blobs/sha256/"),
    "wrong layer": (_instead(layer_blob(1), layer_blob(9)), r"bytes|is damaged: its digest"),
    "cut layer": (_instead(layer_blob(1), layer_blob(1)[:-5]), r"has \d+ bytes and not \d+"),
    "long layer": (_instead(layer_blob(1), layer_blob(1) + b"x"), r"has more than the"),
    "missing config": (_without(config(1, 2)), r"the archive has no `blobs/sha256/"),
    "wrong config": (_instead(config(1, 2), config(1, 3)), r"not have the digest it is named by"),
    "other layers": (_with_config(config(1, 3)), r"is not what its image says"),
    "fewer diff ids": (_with_config(config(1)), r"names 1 layers, and its manifest 2"),
    "config is no JSON": (_with_config(b"{"), r"is not JSON"),
    "huge config": (_with_config(b" " * (LARGEST_JSON + 1)), r"has more than \d+ bytes"),
    "manifest of a wrong size": (_entry_with(size=1), r"is not of 1 bytes"),
    "manifest of no size": (_entry_with(size=-1), r"no usable size"),
    "manifest of a wrong digest": (_entry_with(digest=f"sha256:{'0' * 64}"), r"archive has no"),
    "manifest of a path": (_entry_with(digest="sha256:../../../etc/passwd"), r"not a sha256"),
    "manifest of sha512": (_entry_with(digest=f"sha512:{'0' * 128}"), r"not a sha256 digest"),
    "manifest as an index": (_entry_with(mediaType=OCI_INDEX), r"says it is|manifest at once"),
    "no image": (_entry_with(mediaType="text/plain"), r"holds no image"),
    "name of no text": (_entry_with(annotations={REFERENCE: 7}), r"image's name is not a text"),
    "name of no name": (_entry_with(annotations={REFERENCE: "A/B"}), r"names its image `A/B`"),
    "too many layers": (_manifest_with(lambda m: m.update(layers=_TWO)), r"has 501 layers"),
    "an artifact": (
        _manifest_with(lambda m: m["config"].update(mediaType="application/x")),
        r"is no container image",
    ),
    "an unknown layer": (
        _manifest_with(lambda m: m["layers"][0].update(mediaType="application/x")),
        r"a layer of the unknown kind",
    ),
    "nested too deep": (_deeply_nested, r"indexes nested more than 4 deep"),
    "huge index": (_index(b" " * (LARGEST_JSON + 1)), r"has more than \d+ bytes"),
    "deep index": (_index(b"[" * 100_000), r"`index.json` is not JSON"),
    "no index": (_index(b"[]"), r"`index.json` is not an object"),
    "empty index": (_index(b'{"manifests": []}'), r"holds no image"),
    "null index": (_index(b"{}"), r"`manifests` is not a list"),
    "other version": (
        lambda files: {**files, "oci-layout": as_json({"imageLayoutVersion": "2.0"})},
        r"of version `2.0`; 1.0.0 is known",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_layout_changes_nothing(store: Store, tmp_path: Path, case: str) -> None:
    """It ends in a clear error; no image and no name has changed, and a prune takes all of it."""
    with unsynced():
        kept = tagged(store, "one:1", 5)
        before = listing(store)
        change, message = HOSTILE[case]
        path = write_tar(tmp_path / "x.tar", change(oci("one:1", 1, 2)))
        with pytest.raises(ImageError, match=message) as caught:
            load(path, store, None)
        assert caught.value.message.startswith(f"`{path}`: ")
        assert listing(store) == before
        store.prune()
        assert_only(store, kept)
