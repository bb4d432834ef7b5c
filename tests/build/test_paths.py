"""Paths inside a tree: whatever the links say, what comes out is inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.build.paths import MOST_LINKS, Resolver
from anchor_supervisor.errors import BuildError


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    """Of a small tree with links."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("x")
    (tmp_path / "up").symlink_to("../../../../a")
    (tmp_path / "absolute").symlink_to("/a/b")
    (tmp_path / "dangling").symlink_to("/not/yet")
    (tmp_path / "loop").symlink_to("loop")
    root = os.open(tmp_path, os.O_RDONLY)
    yield Resolver(root)
    os.close(root)


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/", ""),
        ("", ""),
        ("/a/./b/../b//file", "a/b/file"),
        ("../../a", "a"),
        ("/up/b/file", "a/b/file"),
        ("/absolute/file", "a/b/file"),
        ("/absolute/../file", "a/file"),
        ("/dangling", "not/yet"),
        ("/dangling/more", "not/yet/more"),
        ("/new/deep/../er", "new/er"),
        ("/new/../a/b", "a/b"),
    ],
)
def test_where_paths_lead(resolver: Resolver, path: str, leads_to: str) -> None:
    """As the kernel would have it for a process whose root this is; what is missing stays."""
    place = resolver.resolve(path)
    assert place.path == leads_to
    assert (place.status is not None) == (leads_to in {"", "a", "a/b", "a/b/file"})


def test_the_last_link_can_be_left_alone(resolver: Resolver) -> None:
    """Where what is there is to be replaced."""
    assert resolver.resolve("/up", follow=False).path == "up"
    assert resolver.resolve("/absolute/.", follow=False).path == "absolute"


@pytest.mark.parametrize("path", ["/loop", "/loop/x", "/a/b/file/x", "/a/b/file/../x", "/a\0b"])
def test_what_leads_nowhere(resolver: Resolver, path: str) -> None:
    """Links without end, paths through a file, and what is no path."""
    with pytest.raises(BuildError, match=rf"{MOST_LINKS} links|is not a directory|is no path"):
        resolver.resolve(path)


def test_an_empty_tree_has_nothing() -> None:
    """What FROM scratch begins with."""
    place = Resolver(None).resolve("/a/../b")
    assert (place.path, place.status) == ("b", None)


NAMES = st.sampled_from(["a", "b", "..", ".", "", "c"])
TEXTS = st.lists(NAMES, max_size=5).map("/".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(links=st.dictionaries(st.sampled_from(["a", "b", "c/a", "c/b"]), TEXTS), path=TEXTS)
def test_nothing_leads_out(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, str], path: str
) -> None:
    """Whatever links there are: no component of the result is a link or `..`."""
    place = tmp_path_factory.mktemp("tree")
    (place / "c").mkdir()
    for name, text in links.items():
        if text:
            (place / name).symlink_to(text)
    root = os.open(place, os.O_RDONLY)
    with suppress(BuildError):  # links without end
        found = Resolver(root).resolve(path)
        parts = found.path.split("/") if found.path else []
        assert not {"..", ".", ""} & set(parts)
        for depth in range(len(parts)):
            assert not (place / "/".join(parts[: depth + 1])).is_symlink()
    os.close(root)
