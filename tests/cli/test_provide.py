"""Images come from where the file says, whichever container says it and in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.cli import provide
from anchor_supervisor.errors import UnfitHostError
from anchor_supervisor.fleet.model import Container
from anchor_supervisor.images import pull
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.store import Store
from fleet_text import read
from image_store import tagged

pytestmark = pytest.mark.root

MADE = """
[containers.{}]
image = "own:1"
build = "/etc"
command = ["true"]
"""
USED = """
[containers.{}]
image = "own:1"
command = ["true"]
{}
"""


@pytest.fixture
def done(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; whatever it is, the image is there after it."""
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(data_dir))
    done: list[str] = []
    store = Store(data_dir)

    def build(container: Container, _: Store, **_options: object) -> Image:
        done.append(f"build {container.name}")
        return tagged(store, "own:1", 1)

    def pulled(reference: Reference, _: Store, **_options: object) -> Image:
        done.append(f"pull {reference.familiar}")
        return tagged(store, "own:1", 1)

    monkeypatch.setattr(provide, "_build", build)
    monkeypatch.setattr(pull, "pull", pulled)
    return done


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (USED.format("a", "") + MADE.format("b"), ["build b"]),
        (USED.format("a", 'pull = "always"') + MADE.format("b"), ["build b"]),
        (MADE.format("a") + USED.format("b", ""), ["build a"]),
        (MADE.format("a") + MADE.format("b"), ["build a"]),
        (USED.format("a", "") + USED.format("b", 'pull = "always"'), ["pull own:1"]),
        (USED.format("a", 'pull = "never"') + MADE.format("b"), ["build b"]),
    ],
)
def test_an_image_is_provided_once(text: str, expected: list[str], done: list[str]) -> None:
    """By whoever builds it: a name that is ours is never asked of a registry."""
    with provide.provided(read(text), quiet=True):
        assert done == expected


def test_what_one_container_must_not_have_pulled_is_not_pulled_for_another(
    done: list[str],
) -> None:
    """The fleet is refused at that container's line, before anything is brought."""
    text = USED.format("a", "") + USED.format("b", 'pull = "never"')
    with pytest.raises(UnfitHostError) as caught, provide.provided(read(text), quiet=True):
        pass
    assert caught.value.problems[0].key == "containers.b.image"
    assert done == []


def test_what_is_here_is_asked_about_where_one_container_wants_so(
    done: list[str], data_dir: Path
) -> None:
    """`always` counts, even after a container that is content with what is here."""
    tagged(Store(data_dir), "own:1", 1)
    with provide.provided(read(USED.format("a", "")), quiet=True):
        assert done == []
    two = USED.format("a", "") + USED.format("b", 'pull = "always"')
    with provide.provided(read(two), quiet=True):
        assert done == ["pull own:1"]
