"""Damage and death: an import of broken bytes, or one that is killed at any instant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load import load
from anchor_supervisor.images.store import Store
from archives import directory, member, tar
from image_archives import docker_old, listing, oci, tar_of, write_directory, write_tar
from image_store import (
    assert_only,
    assert_whole,
    die_after,
    die_at,
    ended,
    in_child,
    name,
    tagged,
    unsynced,
)
from waiting import eventually

pytestmark = pytest.mark.root

ROOT = tar(directory("bin"), member("bin/sh", b"#!"), member("etc/passwd", b"root"))


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """An empty store."""
    with unsynced():
        yield Store(data_dir)


@settings(max_examples=60)
@given(
    which=st.booleans(),
    at=st.floats(0, 1, exclude_max=True),
    content=st.binary(min_size=1, max_size=600),
    cut=st.floats(0.5, 1),
)
def test_damage_anywhere(
    tmp_path_factory: pytest.TempPathFactory, which: bool, at: float, content: bytes, cut: float
) -> None:
    """Whatever has happened to an archive's bytes, it is an image or an error."""
    folder = tmp_path_factory.mktemp("damaged")
    whole = tar_of(oci("a:1", 1) if which else docker_old({"a:1": [1]}))
    place = int(at * len(whole))
    damaged = (whole[:place] + content + whole[place + len(content) :])[: int(cut * len(whole)) + 1]
    (folder / "x").write_bytes(damaged)
    store = Store(folder / "data")
    with unsynced():
        try:
            images = load(folder / "x", store, None)
        except ImageError:
            assert listing(store) == (set(), [])
        else:
            assert len(images) == len(listing(store)[0])
            for image in images:
                for layer in image.layers:
                    assert store.layer_root(layer.diff_id).is_dir()


def _sources(folder: Path) -> list[Path]:
    """One source of each kind."""
    (folder / "root.tar").write_bytes(ROOT)
    return [
        folder / "root.tar",
        write_directory(folder / "tree", {"etc/passwd": b"root"}),
        write_tar(folder / "old.tar", docker_old({"old:1": [1, 2], "older:1": [2]})),
        write_tar(folder / "layout.tar", oci("layout:1", 1, 3)),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_killed_anywhere(store: Store, tmp_path: Path, kind: int) -> None:
    """Killed at a call or an instant by chance, an import leaves nothing that no prune takes.

    Names lead to whole images at all times, and the next import works.
    """
    source = _sources(tmp_path)[kind]
    kept = tagged(store, "kept", 5)
    chance = random.Random(kind)
    wanted = load(source, store, None)
    for line in list(store.images()):
        if line.digest != kept.digest:
            store.untag(name(line.name or ""))
    store.prune()
    assert_only(store, kept)
    for round_ in range(20):

        def dying(number: int = round_) -> None:
            if number % 2:
                die_at(chance.randrange(1, 120))
            else:
                die_after(chance.uniform(0.0005, 0.05))
            load(source, store, None)

        chance.random()
        ended(in_child(dying))
        assert store.find("kept") == kept
        named = {store.image(line.digest).digest for line in store.images() if line.name}
        store.prune()
        left = [store.image(line.digest) for line in store.images()]
        assert {image.digest for image in left} == named
        assert all(image in (kept, *wanted) for image in left)
        assert_only(store, *left)
    assert load(source, store, None) == wanted
    store.prune()
    assert_only(store, kept, *wanted)
    if kind > 1:
        assert_whole(store)


def test_several_at_once(store: Store, tmp_path: Path) -> None:
    """Imports of the same and of other things, with a prune at work meanwhile, all succeed."""
    sources = _sources(tmp_path)
    children = [
        in_child(lambda source=source: load(source, store, None))  # type: ignore[misc]
        for source in (*sources, *sources)
    ]

    def pruned() -> int:
        store.prune()
        return len(list(store.images()))

    eventually(pruned, lambda count: count == 5, what="five images are there")
    assert [ended(child) for child in children] == [0] * len(children)
    store.prune()  # the same, imported a second later, is another image that takes over the name
    names = {line.name for line in store.images()}
    called = ("root", "tree", "old:1", "older:1", "layout:1")
    assert names == {str(name(each)) for each in called}
    store.prune()
    assert_only(store, *(store.image(line.digest) for line in store.images()))
