"""Which files a source means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build.ignore import ignore, read_ignore
from anchor_supervisor.build.selection import matcher, select
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.errors import BuildError


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree with a few names."""
    for name in ("one.txt", "two.txt", ".hidden.txt", "dir/inner/x.txt", "dir/y.md", "other/z.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link.txt").symlink_to("dir/y.md")
    root = os.open(tmp_path, os.O_RDONLY)
    yield Tree(root, "the context")
    os.close(root)


def names(tree: Tree, pattern: str, **more: object) -> list[str]:
    """The names of what a pattern means, each with what is beneath it."""
    found = []
    for source in select(tree, pattern, excluded=None, **more):  # type: ignore[arg-type]
        assert source.node is not None
        below = [node.path for node in source.below]
        found.append(f"{source.name}={source.node.path}" + (f"{below}" if below else ""))
    return found


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("one.txt", ["one.txt=one.txt"]),
        ("/one.txt", ["one.txt=one.txt"]),
        ("../../one.txt", ["one.txt=one.txt"]),
        ("link.txt", ["link.txt=dir/y.md"]),
        (
            "*.txt",
            [".hidden.txt=.hidden.txt", "link.txt=dir/y.md", "one.txt=one.txt", "two.txt=two.txt"],
        ),
        ("[m-z]*.txt", ["one.txt=one.txt", "two.txt=two.txt"]),
        ("[^m-z]*.txt", [".hidden.txt=.hidden.txt", "link.txt=dir/y.md"]),
        ("*/?.txt", ["z.txt=other/z.txt"]),
        ("d?r/", ["dir=dir['dir/inner', 'dir/inner/x.txt', 'dir/y.md']"]),
        ("\\one.t*", ["one.txt=one.txt"]),
        ("nothing*", []),
    ],
)
def test_what_a_pattern_means(tree: Tree, pattern: str, expected: list[str]) -> None:
    """As docker has it; a wildcard may mean nothing, a name may not."""
    assert names(tree, pattern) == expected


def test_the_whole(tree: Tree) -> None:
    """`.` is everything, and not itself."""
    (source,) = select(tree, ".", excluded=None)
    assert source.is_directory
    assert len(source.below) == 10


def test_with_parents(tree: Tree) -> None:
    """The way to a source is kept, from the pivot down."""
    (source,) = select(tree, "dir/inner/x.txt", parents=True, excluded=None)
    assert source.name == "dir/inner/x.txt"
    assert [node.path for node in source.above] == ["dir", "dir/inner"]
    (source,) = select(tree, "dir/./inner/*.txt", parents=True, excluded=None)
    assert source.name == "inner/x.txt"
    assert [node.path for node in source.above] == ["dir/inner"]


def test_what_is_excluded(tree: Tree) -> None:
    """By `--exclude`, seen from the source; by .dockerignore, seen from the context."""
    excluded = ignore(["**/*.txt"]).excluded
    (source,) = select(tree, "dir", excluded=excluded)
    assert [node.path for node in source.below] == ["dir/inner", "dir/y.md"]
    assert [source.name for source in select(tree, "*.txt", excluded=excluded)] == []
    tree.ignored = read_ignore("two.txt\nother\n", file=".dockerignore")
    assert "two.txt=two.txt" not in names(tree, "*.txt")
    with pytest.raises(BuildError, match=r"`two.txt` is not in the context") as caught:
        names(tree, "two.txt")
    assert caught.value.hint is not None
    assert "dockerignore" in caught.value.hint


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-", "[-a]", "[z-a]", "a\\", "[\\"])
def test_malformed_patterns(pattern: str) -> None:
    """What Go's filepath.Match calls a bad pattern is one."""
    with pytest.raises(BuildError, match="is not a pattern"):
        matcher(pattern)


@given(st.text(st.characters(exclude_characters="*?[]\\/", codec="utf-8"), max_size=8))
def test_a_plain_name_means_itself_alone(name: str) -> None:
    """Whatever else a regular expression would make of its letters."""
    assert matcher(name)(name)
    assert not matcher(name)(name + "x")
    assert matcher("*")(name)
    assert matcher("?" * len(name))(name)
