"""Processes that add, name, hold and prune the same images at once lose nothing, double nothing."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from anchor_supervisor.images.store import Store
from image_store import (
    add_image,
    assert_only,
    assert_whole,
    ended,
    hexes,
    in_child,
    name,
    tagged,
    unsynced,
)

pytestmark = pytest.mark.root

PROCESSES = 4


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def at_once(work: Callable[[int], None], *, processes: int = PROCESSES) -> None:
    """Do the work in several processes, which begin together; each must end well."""
    reader, writer = os.pipe()

    def begin(number: int) -> None:
        os.close(writer)
        os.read(reader, 1)  # until the parent closes its end
        with unsynced():
            work(number)

    children = [in_child(functools.partial(begin, number)) for number in range(processes)]
    os.close(reader)
    os.close(writer)
    assert [ended(child) for child in children] == [0] * processes


def test_the_same_image_added_at_once_is_one(store: Store) -> None:
    """All end with it, each under its own name, and there is one copy of everything."""
    at_once(lambda number: tagged_as(store, f"n{number}"))
    image = store.find("n0")
    assert image is not None
    assert_whole(store)
    assert_only(store, image)
    assert {each.name for each in store.images()} == {
        f"docker.io/library/n{number}:latest" for number in range(PROCESSES)
    }
    assert {each.digest for each in store.images()} == {image.digest}


def tagged_as(store: Store, text: str) -> None:
    """Bring the one image in, and give it a name."""
    with store.lease(text) as lease:
        image = add_image(store, lease, 0, 1, 2, label="same")
        store.tag(name(text), image.digest)


@pytest.mark.parametrize("seed", range(3))
def test_prunes_take_nothing_from_whoever_works(store: Store, seed: int) -> None:
    """While others prune without end, what one holds or has named is there and whole."""

    def work(number: int) -> None:
        order = random.Random(seed * PROCESSES + number)
        for _ in range(25):
            if number == 0:
                store.prune(everything=order.random() < 0.2)
                continue
            seeds = order.sample(range(4), 2)
            with store.lease(f"worker {number}") as lease:
                image = add_image(store, lease, *seeds, label=str(order.randrange(2)))
                store.tag(name(f"n{number}"), image.digest)
                assert f"worker {number}" in store.holders(image.digest)
                if order.random() < 0.5:
                    store.untag(name(f"n{number}"))
                    store.prune()
                assert store.image(image.digest) == image
                for layer in image.layers:
                    assert store.blob(layer.blob.digest) is not None
                    assert (store.layer_root(layer.diff_id)).is_dir()

    at_once(work)
    assert_whole(store)
    store.prune()
    images = [store.image(each.digest) for each in store.images() if each.name]
    assert_only(store, *{each.digest: each for each in images}.values())


def test_prunes_at_once_share_the_work(store: Store) -> None:
    """What several prunes remove at once is removed by one of them, and told once."""
    kept = tagged(store, "kept", 0)
    for seed in range(1, 8):
        tagged(store, f"gone{seed}", seed)
        store.untag(name(f"gone{seed}"))
    expected = sorted((each.kind, each.name) for each in store.prune(dry_run=True))
    told = store.data / "told"

    def work(number: int) -> None:
        removed = store.prune()
        (store.data / f"told-{number}").write_text(
            "".join(f"{each.kind} {each.name}\n" for each in removed)
        )

    at_once(work)
    lines = [
        tuple(line.split(" ", 1))
        for number in range(PROCESSES)
        for line in Path(f"{told}-{number}").read_text().splitlines()
    ]
    assert sorted(line for line in lines if line[0] != "unfinished") == expected
    assert_only(store, kept)


def test_a_name_moved_by_many_leads_to_one_of_theirs(store: Store) -> None:
    """Readers meanwhile always find a whole image: the old one, or a new one."""
    images = [tagged(store, f"image{number}", number) for number in range(PROCESSES)]
    store.tag(name("moving"), images[0].digest)

    def work(number: int) -> None:
        for _ in range(40):
            if number:
                store.tag(name("moving"), images[number].digest)
            else:
                assert store.find("moving") in images

    at_once(work)
    assert store.find("moving") in images[1:]
    assert hexes(store, "ingest") == set()
