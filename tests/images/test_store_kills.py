"""Killed at any instant, the store has the old or the new, and no litter after one prune."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.store import Store
from image_store import (
    add_image,
    assert_only,
    assert_whole,
    blob_descriptor,
    die_after,
    die_at,
    diff_id,
    ended,
    in_child,
    layer_blob,
    name,
    tagged,
    unsynced,
)

pytestmark = [pytest.mark.root, pytest.mark.native]

KILLED = -9
ALARMED = -14
MOST_CALLS = 2000


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """A store with an image `kept` of layers 0 and 1."""
    made = Store(data_dir)
    with unsynced():
        tagged(made, "kept", 0, 1)
        yield made


def kill_everywhere(act: Callable[[], object], check: Callable[[int], None]) -> int:
    """Kill a child that does this at its first changing call, its second, ... until it survives."""
    for number in range(1, MOST_CALLS):

        def dying(number: int = number) -> None:
            die_at(number)
            act()

        code = ended(in_child(dying))
        assert code in (0, KILLED), f"died otherwise at call {number}"
        check(code)
        if code == 0:
            return number - 1
    raise AssertionError("the child never came to its end")


def test_adding_an_image_is_all_or_nothing(store: Store) -> None:
    """At whatever call the adding dies, what is named is whole, and one prune takes the rest."""
    kept = store.image(next(store.images()).digest)

    def add() -> None:
        tagged(store, "new", 1, 2)

    def check(code: int) -> None:
        assert_whole(store)
        new = store.find("new")
        assert code != 0 or new is not None
        store.prune()
        assert_only(store, kept, *([] if new is None else [new]))
        if new is not None:
            store.untag(name("new"))
            store.prune()
            assert_only(store, kept)

    assert kill_everywhere(add, check) > 60


def test_the_next_try_finishes_what_a_kill_left(store: Store) -> None:
    """Without any prune in between, adding again succeeds and leaves nothing but the image."""
    kept = store.image(next(store.images()).digest)

    def add() -> None:
        tagged(store, "new", 3)

    def check(_code: int) -> None:
        new = tagged(store, "new", 3)
        assert_whole(store)
        assert_only(store, kept, new)
        store.untag(name("new"))
        store.prune()

    assert kill_everywhere(add, check) > 40


def test_moving_a_name_leads_to_the_old_or_the_new(store: Store) -> None:
    """A name is never without an image, and never leads to what is not there."""
    old, new = tagged(store, "old", 2), tagged(store, "new", 3)
    store.tag(name("moving"), old.digest)

    def move() -> None:
        store.tag(name("moving"), new.digest)

    def check(code: int) -> None:
        found = store.find("moving")
        assert found is not None
        assert found == new if code == 0 else found in (old, new)
        store.tag(name("moving"), old.digest)
        assert_whole(store)

    assert kill_everywhere(move, check) > 3
    store.prune()
    assert_only(
        store, store.image(old.digest), new, *[each for each in [store.find("kept")] if each]
    )


def test_a_killed_prune_leaves_whole_images(store: Store) -> None:
    """What is still registered is whole; what is named stays; the next prune finishes."""
    kept = store.image(next(store.images()).digest)

    def check(code: int) -> None:
        images = assert_whole(store)
        assert kept.digest in images
        assert code != 0 or images == {kept.digest}
        store.prune()
        assert_only(store, kept)
        litter()

    def litter() -> None:
        with store.lease("test") as lease:
            add_image(store, lease, 1, 2)
            with store.write_blob(lease, blob_descriptor(4)) as writer:
                assert writer is not None
                writer.write(layer_blob(4)[:20])

    litter()
    assert kill_everywhere(store.prune, check) > 30


def test_a_killed_holder_holds_nothing(store: Store) -> None:
    """However far a lease had come, it ends with its process, and its file goes."""
    kept = store.image(next(store.images()).digest)
    store.untag(name("kept"))

    def hold() -> None:
        with store.lease("doomed") as lease:
            lease.hold(kept.digest)
            lease.hold(diff_id(0))

    def check(code: int) -> None:
        assert store.holders(kept.digest) == ()
        assert {each.kind for each in store.prune(dry_run=True)} == {"image", "layer", "blob"}
        assert_whole(store)

    assert kill_everywhere(hold, check) > 5
    store.prune()
    assert_only(store)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_instants(store: Store, seed: int) -> None:
    """Two at once, each killed in real time in the midst of adding, moving names and pruning."""
    choose = random.Random(seed)
    kept = store.image(next(store.images()).digest)

    def work() -> None:
        die_after(delay)
        while True:
            tagged(store, f"a{order.randrange(3)}", *order.sample(range(6), 2))
            store.prune()
            for each in list(store.images()):
                if each.name and "/a" in each.name and order.random() < 0.5:
                    with contextlib.suppress(ImageError):  # the other was faster
                        store.untag(name(each.name))

    for _ in range(12):
        children = []
        for _ in range(2):
            delay, order = choose.uniform(0.002, 0.06), random.Random(choose.random())
            children.append(in_child(work))
        assert [ended(child) for child in children] == [ALARMED, ALARMED]
        assert_whole(store)
        store.prune()
        named = {each.digest for each in store.images()}
        assert kept.digest in named
        assert_only(store, *map(store.image, named))
