"""What `docker save` has written through the years, honest and hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load import load, load_named
from anchor_supervisor.images.model import LARGEST_JSON
from anchor_supervisor.images.store import Store
from image_archives import (
    Files,
    as_json,
    config,
    docker_ancient,
    docker_new,
    docker_old,
    hexadecimal,
    link,
    listing,
    tar_of,
    write_directory,
    write_tar,
)
from image_store import (
    assert_only,
    diff_id,
    expected_tree,
    layer_tar,
    name,
    tagged,
    tree,
    unsynced,
)

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def assert_layers(store: Store, digest: str, *seeds: int) -> None:
    """The image is of these layers, unpacked as their tars say."""
    layers = store.image(digest).layers
    assert [layer.diff_id for layer in layers] == [diff_id(seed) for seed in seeds]
    for layer, seed in zip(layers, seeds, strict=True):
        assert tree(store.layer_root(layer.diff_id)) == expected_tree(layer_tar(seed))


def test_the_old_layout(store: Store, tmp_path: Path) -> None:
    """Names and layers come in, and the id is the one the image had where it was saved."""
    path = write_tar(tmp_path / "x.tar", docker_old({"one:1": [1, 2]}))
    (loaded,) = load_named(path, store, None)
    assert loaded.names == (name("one:1"),)
    assert loaded.image.config_blob.digest == f"sha256:{hexadecimal(config(1, 2))}"
    assert_layers(store, loaded.image.digest, 1, 2)
    assert store.find("one:1") == loaded.image


def test_several_images_and_linked_layers(store: Store, tmp_path: Path) -> None:
    """Every image comes in; a layer saved as a link to another image's is that layer."""
    path = write_tar(tmp_path / "x.tar", docker_old({"one:1": [1, 2], "two:2": [1, 3]}))
    one, two = load(path, store, None)
    assert_layers(store, one.digest, 1, 2)
    assert_layers(store, two.digest, 1, 3)
    assert one.layers[0] == two.layers[0]
    with pytest.raises(ImageError, match=r"holds 2 images; `x:latest` can name only one") as caught:
        load(path, store, name("x"))
    assert caught.value.hint == "leave the name out; inside are one:1, two:2"


def test_the_new_layout_keeps_its_manifest(store: Store, tmp_path: Path) -> None:
    """Where there is a layout as well, that is read: its manifest's digest is the image's."""
    files = docker_new("one:1", 1, 2)
    (loaded,) = load_named(write_tar(tmp_path / "x.tar", files), store, None)
    index = json.loads(_bytes(files["index.json"]))
    assert loaded.image.digest == index["manifests"][0]["digest"]
    assert loaded.names == (name("one:1"),)
    assert_layers(store, loaded.image.digest, 1, 2)


def test_the_new_layout_without_an_index(store: Store, tmp_path: Path) -> None:
    """manifest.json alone leads to blobs as well."""
    files = docker_new("one:1", 1)
    del files["index.json"]
    (loaded,) = load_named(write_tar(tmp_path / "x.tar", files), store, None)
    assert loaded.image.config_blob.digest == f"sha256:{hexadecimal(config(1))}"
    assert_layers(store, loaded.image.digest, 1)


def test_before_docker_1_10(store: Store, tmp_path: Path) -> None:
    """Without a manifest the chain of parents says what the layers are."""
    files = docker_ancient("old:1", 3, 1, 2)
    (loaded,) = load_named(write_tar(tmp_path / "x.tar", files), store, None)
    assert loaded.names == (name("old:1"),)
    assert_layers(store, loaded.image.digest, 3, 1, 2)
    assert loaded.image.config["config"] == {"Cmd": ["sh"], "Env": ["A=b"]}
    assert loaded.image.config["history"][0]["created_by"] == "/bin/sh -c #(nop) layer 3"


def test_an_unpacked_archive(store: Store, tmp_path: Path) -> None:
    """A directory with an archive's files in it is the archive."""
    files = docker_old({"one:1": [1], "two:1": [1]})
    found = load_named(write_directory(tmp_path / "x", files), store, None)
    assert [str(one.names[0].familiar) for one in found] == ["one:1", "two:1"]


def test_a_name_of_ones_own(store: Store, tmp_path: Path) -> None:
    """NAME replaces the archive's, which then need not be a name at all."""
    files = docker_old({"NOT A NAME": [1]})
    path = write_tar(tmp_path / "x.tar", files)
    with pytest.raises(ImageError, match=r"names its image `NOT A NAME`, which is not") as caught:
        load(path, store, None)
    assert caught.value.hint == "give it a name of your own: `anchor import SRC NAME`"
    (loaded,) = load_named(path, store, name("good:1"))
    assert loaded.names == (name("good:1"),)


def test_a_known_layer_is_not_read_again(store: Store, tmp_path: Path) -> None:
    """A layer of an image here stays as it is; what the archive has for it is not looked at."""
    here = tagged(store, "here", 1)
    files = docker_old({"one:1": [1, 2]})
    (first,) = [key for key in files if files[key] == layer_tar(1)]
    files[first] = b"whatever"
    (loaded,) = load(write_tar(tmp_path / "x.tar", files), store, None)
    assert loaded.layers[0] == here.layers[0]
    assert_layers(store, loaded.digest, 1, 2)


def _bytes(content: object) -> bytes:
    assert isinstance(content, bytes)
    return content


def _manifest(files: Files) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_bytes(files["manifest.json"]))
    return found


def _changed(**fields: object) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        return {**files, "manifest.json": as_json([{**_manifest(files)[0], **fields}])}

    return change


def _with_first_layer(content: object) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        layer = _manifest(files)[0]["Layers"][0]
        return {**files, layer: content}  # type: ignore[dict-item] # that is the point

    return change


def _with_config(content: bytes) -> Callable[[Files], Files]:
    return lambda files: _changed(Config="c")({**files, "c": content})


def _without_first_layer(files: Files) -> Files:
    layer = _manifest(files)[0]["Layers"][0]
    return {key: value for key, value in files.items() if key != layer}


def _circle(files: Files) -> Files:
    return _changed(Layers=["a", "a"])({**files, "a": link("b"), "b": link("a")})


def _wrong_config_digest(files: Files) -> Files:
    key = _manifest(files)[0]["Config"]
    return {**files, key: _bytes(files[key]) + b" "}


_DEEP = b"[" * 100_000

HOSTILE: dict[str, tuple[Callable[[Files], Files], str]] = {
    "missing layer": (_without_first_layer, r"the archive has no `\w+/layer.tar`"),
    "wrong layer": (_with_first_layer(layer_tar(9)), r"is not what its image says"),
    "layer is no tar": (_with_first_layer(b"x" * 999), r"is not what its image says"),
    "layer leads out": (_with_first_layer(link("../../../etc/passwd")), r"the archive has no `"),
    "layer is absolute": (_with_first_layer(link("/etc/passwd")), r"the archive has no `"),
    "layers in a circle": (_circle, r"`a` is a link that leads in circles"),
    "layer by ..": (_changed(Layers=["../../etc/passwd"] * 2), r"is not a name in it"),
    "config by ..": (_changed(Config="../../../etc/passwd"), r"is not a name in it"),
    "config is absolute": (_changed(Config="/etc/passwd"), r"the archive has no `/etc/passwd`"),
    "config with NUL": (_changed(Config="a\0b"), r"is not a name in it"),
    "config without a name": (_changed(Config=""), r"is not a name in it"),
    "config of a long name": (_changed(Config="x" * 9999), r"is not a name in it"),
    "wrong config": (_wrong_config_digest, r"does not have the digest it is named by"),
    "huge config": (_with_config(b" " * (LARGEST_JSON + 1)), r"has more than \d+ bytes"),
    "deep config": (_with_config(_DEEP), r"`c` is not JSON"),
    "config is no object": (_with_config(b"[]"), r"configuration is not an object"),
    "config without rootfs": (_with_config(b"{}"), r"no list of diff ids"),
    "config of other digests": (
        _with_config(as_json({"rootfs": {"diff_ids": ["sha512:00", "x"]}})),
        r"is not a sha256 digest",
    ),
    "fewer layers": (_changed(Layers=[]), r"names 2 layers, and its manifest 0"),
    "too many layers": (_changed(Layers=["x"] * 501), r"has 501 layers; at most 500"),
    "layers of numbers": (_changed(Layers=[1, 2]), r"layer's name is not a text"),
    "layers of no list": (_changed(Layers={}), r"layers is not a list"),
    "name of no text": (_changed(RepoTags=[7]), r"image's name is not a text"),
    "name with a digest": (_changed(RepoTags=[f"x@sha256:{'0' * 64}"]), r"by a digest"),
    "no images": (lambda files: {**files, "manifest.json": b"[]"}, r"holds no image"),
    "deep manifest": (lambda files: {**files, "manifest.json": _DEEP}, r"is not JSON"),
    "huge manifest": (
        lambda files: {**files, "manifest.json": b" " * (LARGEST_JSON + 1)},
        r"has more than \d+ bytes",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_changes_nothing(store: Store, tmp_path: Path, case: str) -> None:
    """It ends in a clear error; no image and no name has changed, and a prune takes all of it."""
    with unsynced():
        kept = tagged(store, "one:1", 5)
        before = listing(store)
        change, message = HOSTILE[case]
        path = write_tar(tmp_path / "x.tar", change(docker_old({"one:1": [1, 2]})))
        with pytest.raises(ImageError, match=message) as caught:
            load(path, store, None)
        assert caught.value.message.startswith(f"`{path}`: ")
        assert listing(store) == before
        store.prune()
        assert_only(store, kept)


def test_the_second_image_is_bad(store: Store, tmp_path: Path) -> None:
    """Nothing of the first one counts either."""
    files = docker_old({"one:1": [1], "two:1": [2]})
    (last,) = [key for key in files if files[key] == layer_tar(2)]
    path = write_tar(tmp_path / "x.tar", {**files, last: layer_tar(3)})
    with pytest.raises(ImageError, match="is not what its image says"):
        load(path, store, None)
    assert listing(store) == (set(), [])


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        (hexadecimal(b"ancient 1"), r"too many layers, or one over itself"),
        ("../../etc/passwd", r"which is not an id"),
        (["x"], r"image's id is not a text"),
        ("0" * 64, r"the archive has no `0{64}/json`"),
    ],
)
def test_a_hostile_ancestry(store: Store, tmp_path: Path, parent: object, message: str) -> None:
    """A chain of parents that leads in circles, out or nowhere is refused."""
    files = docker_ancient("old:1", 1)
    (key,) = [key for key in files if key.endswith("/json")]
    files[key] = as_json({**json.loads(_bytes(files[key])), "parent": parent})
    with pytest.raises(ImageError, match=message):
        load(write_tar(tmp_path / "x.tar", files), store, None)
    assert listing(store) == (set(), [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=40)
@given(place=st.sampled_from(["Config", "RepoTags", "Layers", ""]), value=JSON)
def test_any_json_is_an_image_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, place: str, value: object
) -> None:
    """Whatever is in the manifest, the import succeeds or says what is wrong."""
    folder = tmp_path_factory.mktemp("json")
    store = Store(folder / "data")
    files = docker_old({"one:1": [1]})
    entry = {**_manifest(files)[0], place: value} if place else value
    (folder / "x.tar").write_bytes(tar_of({**files, "manifest.json": as_json([entry])}))
    with unsynced():
        try:
            load(folder / "x.tar", store, None)
        except ImageError as error:
            assert re.search(r"`.*x.tar`: ", error.message)  # noqa: PT017 - the other way is fine
