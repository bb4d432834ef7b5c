"""The digest of what is copied: what counts, what does not, and what is remembered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.build.fingerprint import FileDigests, content_digest, fingerprint
from anchor_supervisor.build.selection import Source, select
from anchor_supervisor.build.tree import Tree

LONG_AGO: Final = 1_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree that stands still."""
    context = tmp_path / "context"
    (context / "dir").mkdir(parents=True)
    (context / "dir/file").write_text("file")
    (context / "dir/link").symlink_to("file")
    root = os.open(context, os.O_RDONLY)
    yield Tree(root, "the context")
    os.close(root)


def digest(tree: Tree, tmp_path: Path, pattern: str = "dir") -> str:
    """The digest of a source."""
    fresh = Tree(tree.root, tree.words, keeps_owners=tree.keeps_owners)
    return fingerprint(select(fresh, pattern, excluded=None), FileDigests(tmp_path / "digests"))


CHANGES: Final[dict[str, Callable[[Path], object]]] = {
    "content": lambda place: (place / "file").write_text("FILE"),
    "mode": lambda place: (place / "file").chmod(0o600),
    "name": lambda place: (place / "file").rename(place / "other"),
    "link": lambda place: ((place / "link").unlink(), (place / "link").symlink_to("x")),  # type: ignore[func-returns-value]
    "more": lambda place: (place / "empty").mkdir(),
    "kind": lambda place: ((place / "file").unlink(), (place / "file").mkdir()),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_counts(tree: Tree, tmp_path: Path, what: str) -> None:
    """Each of these makes it another."""
    before = digest(tree, tmp_path)
    CHANGES[what](tmp_path / "context/dir")
    assert digest(tree, tmp_path) != before


def test_times_and_places_do_not_count(tree: Tree, tmp_path: Path) -> None:
    """Nor do the owners of a context; those of an image do."""
    before = digest(tree, tmp_path)
    os.utime(tmp_path / "context/dir/file", (LONG_AGO, LONG_AGO))
    (tmp_path / "context/dir").rename(tmp_path / "context/moved")
    (tmp_path / "context/dir").mkdir()
    moved = digest(tree, tmp_path, "moved")
    assert moved != before  # it is called otherwise
    (tmp_path / "context/dir").rmdir()
    (tmp_path / "context/moved").rename(tmp_path / "context/dir")
    assert digest(tree, tmp_path) == before


def test_lists_that_read_alike_are_not(tmp_path: Path) -> None:
    """Names and contents cannot run into each other."""
    digests = FileDigests(tmp_path / "digests")
    one = fingerprint([Source("ab", content=b"c")], digests)
    two = fingerprint([Source("a", content=b"bc")], digests)
    both = fingerprint([Source("a", content=b"b"), Source("c", content=b"")], digests)
    assert len({one, two, both}) == 3


def test_what_is_remembered(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has not been touched for a while is read once; a touched one again."""
    later = os.stat(tmp_path / "context/dir/file").st_ctime_ns + 10 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: later)
    node = tree.find("dir/file")
    assert node is not None
    first = FileDigests(tmp_path / "digests")
    assert first.digest(tree, node) == content_digest(tree, node)
    first.save()

    def never(_tree: Tree, _node: object) -> str:
        raise AssertionError

    monkeypatch.setattr("anchor_supervisor.build.fingerprint.content_digest", never)
    second = FileDigests(tmp_path / "digests")
    assert second.digest(tree, node)
    (tmp_path / "context/dir/file").write_text("FILE")
    changed = Tree(tree.root, "the context").find("dir/file")
    assert changed is not None
    with pytest.raises(AssertionError):
        second.digest(tree, changed)


def test_what_was_just_written_is_read_again(tree: Tree, tmp_path: Path) -> None:
    """It might be written to once more within the clock's grain."""
    node = tree.find("dir/file")
    assert node is not None
    digests = FileDigests(tmp_path / "digests")
    digests.digest(tree, node)
    digests.save()
    assert not (tmp_path / "digests").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"1:2": 3}', "\0"])
def test_damage_costs_only_time(tree: Tree, tmp_path: Path, content: str) -> None:
    """Whatever is in the file."""
    (tmp_path / "digests").write_text(content)
    node = tree.find("dir/file")
    assert node is not None
    assert FileDigests(tmp_path / "digests").digest(tree, node) == content_digest(tree, node)
