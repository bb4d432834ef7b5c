"""A name leads to a whole image or to nothing; people find images by whatever they know of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import catalogue
from anchor_supervisor.images.catalogue import NamedImage
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.reference import Reference, parse
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.store_layout import Layout
from image_store import digest_of, hexes


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def made(store: Store, label: str, *names: str) -> Image:
    """An image without layers, named."""
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"x": label}}}
    with store.lease("test") as lease:
        image = store.make_image(lease, config, [])
        for name in names:
            store.tag(parse(name), image.digest)
    return image


def test_a_name_leads_to_the_latest_it_was_given(store: Store) -> None:
    """Moved at once; untagging says where it led; a second time there is nothing."""
    one, two = made(store, "one", "a", "b:1"), made(store, "two", "a")
    assert store.find("a") == store.find("docker.io/library/a:latest") == two
    assert store.find("b:1") == one
    assert store.find("b") is None
    assert store.untag(parse("a")) == two.digest
    assert store.find("a") is None
    with pytest.raises(ImageError, match="there is no image `a:latest`"):
        store.untag(parse("a"))


def test_only_what_is_registered_can_be_named(store: Store) -> None:
    """A name that would lead nowhere is not made, in an empty store either."""
    with pytest.raises(ImageError, match="no image"):
        store.untag(parse("a"))
    with pytest.raises(ImageError, match="is not in the store"):
        store.tag(parse("a"), digest_of(b"nothing"))
    with pytest.raises(ImageError, match="is not a sha256 digest"):
        store.tag(parse("a"), "../x")
    assert hexes(store, "names") == hexes(store, "ingest") == set()


def test_an_empty_store_is_looked_at_without_making_it(store: Store) -> None:
    """Looking leaves no trace."""
    assert store.find("a") is None
    assert store.find("abcd1234") is None
    assert list(store.images()) == []
    assert store.blob(digest_of(b"x")) is None
    assert store.holders(digest_of(b"x")) == ()
    assert store.prune() == ()
    assert os.listdir(store.data) == []


def test_images_are_found_by_digest_and_by_digits(store: Store) -> None:
    """The manifest's digest or the configuration's, in full or by four digits and more."""
    one, two = made(store, "one", "one"), made(store, "two")
    for digest in (one.digest, one.config_blob.digest):
        assert store.find(digest) == one
        for length in (12, 20, 64):
            assert store.find(digest[7:][:length]) == one
            assert store.find(f"sha256:{digest[7:][:length]}") == one
    assert store.find(two.digest) == two
    assert store.find(digest_of(b"other")) is None
    assert store.find(digest_of(b"other")[7:]) is None
    assert store.find(one.digest[7:10]) is None  # three digits are a name


def test_digits_of_several_images_are_refused_with_all_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each candidate is listed; one more digit tells them apart."""
    monkeypatch.setattr(catalogue, "_PREFIX", re.compile("(?:sha256:)?([0-9a-f]{1,64})"))
    images = [made(store, str(number)) for number in range(20)]
    digits = images[0].digest[7]
    same = [each for each in images if digits in (each.digest[7], each.config_blob.digest[7])]
    assert len(same) > 1
    with pytest.raises(ImageError, match=f"`{digits}` is the beginning of several") as refused:
        store.find(digits)
    assert all(f"`{each.digest[7:19]}`" in refused.value.message for each in same)
    assert refused.value.hint == "give more digits"


def test_a_name_goes_before_digits(store: Store) -> None:
    """An image may be called like another one's digits; the name is what is meant."""
    other = made(store, "other")
    digits = other.digest[7:15]
    named = made(store, "named", digits)
    assert store.find(digits) == named
    assert store.find(f"sha256:{digits}") == other


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "a@sha256:12", "../../etc", "a:b:c"])
def test_what_cannot_be_a_name_is_refused(store: Store, text: str) -> None:
    """With what is wrong with it, as the reference's own parser says it."""
    with pytest.raises(ImageError):
        store.find(text)


def test_a_digest_in_a_name_rules(store: Store) -> None:
    """`name@digest` is the image of that digest where a name of that repository leads to it."""
    image, other = made(store, "one", "a:1"), made(store, "two", "b")
    assert store.find(f"a@{image.digest}") == image
    assert store.find(f"a:2@{image.digest}") == image
    assert store.find(f"b@{image.digest}") is None
    index = digest_of(b"index")
    store.tag(parse(f"c@{index}"), other.digest)
    assert store.find(f"c@{index}") == other
    assert store.find(f"c:tag@{index}") == other


def test_all_names_and_all_images_without_one_are_listed(store: Store) -> None:
    """In full, in order, with when the image came; what has no name is last."""
    one, two = made(store, "one", "b", "a:1"), made(store, "two")
    os.utime(store.layout.images / f"{one.digest[7:]}.json", (1000.0, 1000.0))
    os.utime(store.layout.images / f"{two.digest[7:]}.json", (2000.0, 2000.0))
    assert list(store.images()) == [
        NamedImage("docker.io/library/a:1", one.digest, 1000.0),
        NamedImage("docker.io/library/b:latest", one.digest, 1000.0),
        NamedImage(None, two.digest, 2000.0),
    ]


def test_an_image_added_twice_is_one(store: Store) -> None:
    """Equal configurations and layers are the same image, with the time of its first coming."""
    one = made(store, "one")
    path = store.layout.images / f"{one.digest[7:]}.json"
    inode = path.stat().st_ino
    assert made(store, "one") == one
    assert path.stat().st_ino == inode


COMPONENT = st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True)
REFERENCES = st.builds(
    Reference,
    st.sampled_from(["docker.io", "localhost:5000", "[::1]:80", "a.b"]),
    st.lists(COMPONENT, min_size=1, max_size=60).map("/".join),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
    st.none() | st.binary(max_size=4).map(digest_of),
)


@settings(max_examples=30)
@given(st.lists(REFERENCES, unique=True, max_size=10))
def test_every_name_has_a_file_of_its_own(references: list[Reference]) -> None:
    """However long, each is one file in the directory of names, and no two share one."""
    layout = Layout(Path("/nowhere"))
    paths = [catalogue.name_path(layout, each) for each in references]
    assert len(set(paths)) == len(references)
    assert all(each.parent == layout.names and len(each.name) <= 255 for each in paths)


def test_a_very_long_name_works(store: Store) -> None:
    """A name that no file can have is kept all the same, and listed in full."""
    text = f"a.b/{'/'.join('x' * 3 for _ in range(60))}:{'t' * 128}"
    image = made(store, "one", text)
    assert store.find(text) == image
    assert [each.name for each in store.images()] == [text]
    assert store.untag(parse(text)) == image.digest


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest": 7}'])
def test_our_own_files_spoilt_are_said_so(store: Store, text: str) -> None:
    """A file that is not as we write it is an ImageError that names it, with a way out."""
    image = made(store, "one", "a")
    path = store.layout.images / f"{image.digest[7:]}.json"
    path.write_text(text)
    with pytest.raises(ImageError, match=rf"`{path}` is damaged") as refused:
        store.find("a")
    assert refused.value.hint == "remove it, and pull or import the image again"
