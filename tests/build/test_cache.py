"""Entries of the cache: good only with their layer, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.build.cache import Cache, Made, key_of, prune
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.store import Store
from archives import member, tar

KEY: Final = key_of("a key")
CREATED: Final = "2001-09-09T01:46:40Z"


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


@pytest.fixture
def made(store: Store) -> Made:
    """A layer of the store that has an entry."""
    with store.lease("test") as lease:
        with LayerWriter(store, lease) as writer:
            writer.write(tar(member("file", b"x")))
            layer = writer.finish()
        made = Made(layer, CREATED)
        Cache(store).keep(KEY, made)
    return made


def test_keys_are_of_facts_and_their_order() -> None:
    """Texts, numbers and lists do not run into each other."""
    facts: tuple[tuple[object, ...], ...] = (
        ("ab",),
        ("a", "b"),
        ("b", "a"),
        (["a", "b"],),
        ("1",),
        (1,),
        (None,),
        ("",),
        ({},),
    )
    assert len({key_of(*fact) for fact in facts}) == len(facts)
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of(("a",)) == key_of(["a"])


def test_what_is_kept_is_found(store: Store, made: Made) -> None:
    """By its key alone; not where the cache is not to be read."""
    with store.lease("test") as lease:
        assert Cache(store).find(KEY, lease) == made
        assert Cache(store).find(key_of("another"), lease) is None
        assert Cache(store, reads=False).find(KEY, lease) is None


def test_what_is_found_is_held(store: Store, made: Made) -> None:
    """A prune takes it away only when nobody has found it."""
    with store.lease("test") as lease:
        assert Cache(store).find(KEY, lease) == made
        store.prune()
        assert Cache(store).has(made.layer)
    store.prune()
    with store.lease("test") as lease:
        assert Cache(store).find(KEY, lease) is None
    assert [removal.kind for removal in prune(store, dry_run=True)] == ["build step"]
    assert len(prune(store)) == 1
    assert prune(store) == ()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"diff_id": "x"}', '{"diff_id": 3, "digest": null}', "\xff"]
)
def test_a_damaged_entry_is_none(store: Store, made: Made, content: str) -> None:
    """And goes with the next prune."""
    path = Cache(store).path / "keys" / KEY
    facts = json.loads(path.read_text())
    path.write_text(content)
    with store.lease("test") as lease:
        assert Cache(store).find(KEY, lease) is None
        path.write_text(json.dumps({**facts, "digest": "../../etc/passwd"}))
        assert Cache(store).find(KEY, lease) is None
    assert made.created == CREATED
    assert len(prune(store)) == 1


def test_notes(store: Store) -> None:
    """Are kept until everything goes."""
    cache = Cache(store)
    assert cache.recall(KEY) is None
    cache.note(KEY, "text")
    assert cache.recall(KEY) == "text"
    assert Cache(store, reads=False).recall(KEY) is None
    assert prune(store) == ()
    assert len(prune(store, everything=True)) == 1
    assert cache.recall(KEY) is None


def test_mounts(store: Store) -> None:
    """Share a directory, or have one alone; nothing is pruned that somebody has."""
    cache = Cache(store)
    with cache.mount("a", alone=False) as one, cache.mount("a", alone=False) as same:
        assert one == same
        with cache.private_mount("a") as two, cache.private_mount("a") as three:
            assert len({one, two, three}) == 3
        (one / "file").write_text("x")
        assert [removal.name for removal in prune(store, everything=True)] == ["a", "a"]
        assert (one / "file").exists()
    assert [removal.name for removal in prune(store, everything=True)] == ["a"]
    with cache.mount("a", alone=True) as new:
        assert list(new.iterdir()) == []
