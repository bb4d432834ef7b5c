"""Images found as people name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.lookup import find, same_id, short_id
from anchor_supervisor.images.model import OCI_MANIFEST
from anchor_supervisor.images.store import Store
from image_store import add_image, name, tagged, unsynced

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Store:
    """A store with a few images."""
    made = Store(data_dir)
    with unsynced():
        image = tagged(made, "debian:12", 1)
        made.tag(name("localhost:5000/x"), image.digest)
        tagged(made, "someone/tool:1", 2)
    return made


def test_by_name_digest_and_id(store: Store) -> None:
    """Each leads to the same image with all of its names."""
    found = find(store, "debian:12")
    assert (found.name, found.names) == (
        name("debian:12"),
        (name("debian:12"), name("localhost:5000/x")),
    )
    for text in (found.image.digest, found.image.digest[7:19], short_id(found.image)):
        other = find(store, text)
        assert (other.image, other.name, other.names) == (found.image, None, found.names)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("debain:12", "did you mean `debian:12`?"),
        ("debian", "did you mean `debian:12`?"),
        ("tool", "did you mean `someone/tool:1`?"),
        ("quite-different", "`anchor images` lists what there is"),
    ],
)
def test_near_matches(store: Store, text: str, hint: str) -> None:
    """What is not there is named, with what may have been meant."""
    with pytest.raises(ImageError, match=f"there is no image `{text}`") as caught:
        find(store, text)
    assert caught.value.hint == hint


def test_an_id_may_be_several_images(store: Store) -> None:
    """Images of one configuration, compressed otherwise, have one id; a name means one of them."""
    with unsynced(), store.lease("test") as lease:
        one = add_image(store, lease, 1, label="twin")
        content = Path(str(store.blob(one.digest))).read_bytes().replace(b"}", b"} ", 1)
        other = store.add_image(lease, store.add_blob(lease, OCI_MANIFEST, content))
        store.tag(name("twin:1"), other.digest)
        found = find(store, short_id(one))
        meant = {each.image.digest for each in same_id(store, found, short_id(one))}
        assert meant == {one.digest, other.digest}
        assert same_id(store, find(store, "twin:1"), "twin:1") == (find(store, "twin:1"),)
        (exactly,) = same_id(store, find(store, one.digest), one.digest)
        assert exactly.image == one
