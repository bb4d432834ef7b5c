"""Stacks of layers: what overlayfs shows of them is what the image specification says of them."""

from __future__ import annotations

import itertools
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.unpack import Unpacked
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from archives import Member, directory, hard_link, member, symlink, tar, unpacked_from, walk
from waiting import SLOWNESS

pytestmark = [pytest.mark.root]

Place = tuple[str, ...]


@frozen
class Change:
    """One entry of a layer: what it is, where, and its content, text, mode or source."""

    kind: str
    place: Place
    value: str = ""

    def member(self) -> Member:
        name = "/".join(self.place)
        match self.kind:
            case "file":
                return member(name, self.value.encode())
            case "directory":
                return directory(name, mode=0o700 + int(self.value))
            case "symlink":
                return symlink(name, self.value)
            case "link":
                return hard_link(name, self.value)
            case "removal":
                return member("/".join((*self.place[:-1], ".wh." + self.place[-1])))
            case _:
                return member("/".join((*self.place, ".wh..wh..opq")))


@frozen
class Node:
    """What is at a place: a kind and a value, which is None for a directory nobody described."""

    kind: str
    value: str | None


Tree = dict[Place, Node]


class Refused(Exception):  # noqa: N818 - what becomes of it
    """An archive that contradicts itself."""


@define
class Own:
    """One layer by itself: what it holds, and the places whose past it hides."""

    tree: Tree = field(factory=dict)
    hidden: set[Place] = field(factory=set)
    opaque: set[Place] = field(factory=set)

    def apply(self, change: Change) -> None:
        match change.kind:
            case "removal":
                self._imply(change.place[:-1])
                self.hidden.add(change.place)
            case "opaque":
                self._imply(change.place)
                self.opaque.add(change.place)
            case "link":
                source = tuple(change.value.split("/"))
                if source != change.place:
                    node = self.tree.get(source)
                    if node is None or node.kind == "directory":
                        raise Refused
                    self._put(change.place, node)
            case _:
                self._put(change.place, Node(change.kind, change.value))

    def _imply(self, place: Place) -> None:
        for depth in range(1, len(place) + 1):
            if self.tree.setdefault(place[:depth], Node("directory", None)).kind != "directory":
                raise Refused

    def _put(self, place: Place, node: Node) -> None:
        self._imply(place[:-1])
        old = self.tree.get(place)
        if old is not None and (old.kind == "directory") != (node.kind == "directory"):
            if any(other[:-1] == place for other in self.tree) or self._marked_below(place):
                raise Refused
            self.opaque.discard(place)
            self.hidden.add(place)
        self.tree[place] = node

    def _marked_below(self, place: Place) -> bool:
        """A removal in a directory is something in it, unless its place was taken again."""
        return any(other[:-1] == place for other in self.hidden)


def laid_over(lower: Tree, own: Own) -> Tree:
    """The specification's order: first all that is removed, then all that is there."""
    seen = dict(lower)
    for place in list(seen):
        above = [place[:depth] for depth in range(len(place))]
        replaced = [up for up in (*above, place) if own.tree.get(up, DIRECTORY).kind != "directory"]
        hidden = any(up in own.hidden for up in (*above, place))
        if replaced or hidden or any(up in own.opaque for up in above):
            del seen[place]
    for place, node in own.tree.items():
        old = seen.get(place)
        if old is not None and old.kind != "directory" and node.kind == "directory":
            seen = {other: kept for other, kept in seen.items() if other[: len(place)] != place}
        seen[place] = node
    return seen


DIRECTORY = Node("directory", None)


def shown(root: int) -> Tree:
    """Everything in a mount, as the model has it."""
    found: Tree = {}
    for folder, folders, files in os.walk(f"/proc/self/fd/{root}/."):
        for name in (*folders, *files):
            path = Path(folder, name)
            place = path.relative_to(f"/proc/self/fd/{root}").parts
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                found[place] = Node("directory", str(status.st_mode & 0o77))
            elif stat.S_ISLNK(status.st_mode):
                found[place] = Node("symlink", str(path.readlink()))
            else:
                found[place] = Node("file", path.read_text())
    return found


def without_guesses(found: Tree, model: Tree) -> Tree:
    """Leave the modes of directories that no entry describes out of it."""
    return {
        place: evolve(node, value=None) if model.get(place) == DIRECTORY else node
        for place, node in found.items()
    }


counter = itertools.count()


def show(place: Path, stack: Sequence[Sequence[Change]]) -> tuple[Tree, list[Unpacked]]:
    """Unpack layers, the lowest first, and look at what overlayfs makes of them."""
    here = place / str(next(counter))
    here.mkdir()
    paths, results = [], []
    for number, changes in enumerate(stack):
        paths.append(here / str(number))
        paths[-1].mkdir()
        results.append(unpacked_from(tar(*[change.member() for change in changes]), paths[-1]))
    root = merged(Layers(tuple(reversed(paths)), f"sha256:{here.name}"))
    try:
        return shown(root), results
    finally:
        os.close(root)


def model_of(stack: Sequence[Sequence[Change]]) -> Tree:
    tree: Tree = {}
    for changes in stack:
        own = Own()
        for change in changes:
            own.apply(change)
        tree = laid_over(tree, own)
    return tree


places = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
changes = st.one_of(
    st.builds(Change, st.just("file"), places, st.sampled_from("xyz")),
    st.builds(Change, st.just("directory"), places, st.sampled_from("01")),
    st.builds(Change, st.just("symlink"), places, st.just("nowhere")),
    st.builds(Change, st.just("link"), places, places.map("/".join)),
    st.builds(Change, st.just("removal"), places),
    st.builds(Change, st.just("opaque"), places),
)
stacks = st.lists(st.lists(changes, max_size=6), min_size=1, max_size=4)


def removal(name: str) -> Change:
    return Change("removal", tuple(name.split("/")))


def file(name: str, content: str = "x") -> Change:
    return Change("file", tuple(name.split("/")), content)


def folder(name: str) -> Change:
    return Change("directory", tuple(name.split("/")), "0")


def opaque(name: str) -> Change:
    return Change("opaque", tuple(name.split("/")))


BELOW = [file("a/old"), file("b", "old"), file("c/c/old")]


@settings(
    max_examples=150 if SLOWNESS == 1 else 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(stacks)
@example([BELOW, [removal("a"), file("a/new")]])
@example([BELOW, [file("a/new"), removal("a")]])
@example([BELOW, [removal("a"), folder("a")]])
@example([BELOW, [folder("a"), removal("a")]])
@example([BELOW, [file("a/new"), opaque("a")]])
@example([BELOW, [opaque("a"), removal("a/old"), removal("a/never")]])
@example([BELOW, [removal("a/never"), removal("never/never")]])
@example([BELOW, [removal("c/c/old"), removal("b"), file("b", "new")]])
@example([BELOW, [file("a"), folder("a")]])
@example([[removal("a"), removal("b/c")]])
@example([BELOW, [removal("a")], [file("a/again")]])
@example([BELOW, [removal("a")], [folder("a")], [removal("a/old")]])
def test_overlayfs_shows_what_the_specification_says(
    data_dir: Path, stack: list[list[Change]]
) -> None:
    """Removals and opaque marks hide what is beneath and nothing of their own layer, in any order.

    An archive that contradicts itself is refused.
    """
    try:
        model = model_of(stack)
    except Refused:
        with pytest.raises(ImageError):
            show(data_dir, stack)
        return
    found, _ = show(data_dir, stack)
    assert without_guesses(found, model) == model


def test_marks_are_told(data_dir: Path) -> None:
    """Who unpacks learns what was removed, which directories were guessed, and a hidden root."""
    stack = [[removal("a"), file("b/c/x"), folder("b"), Change("opaque", ())]]
    _, (result,) = show(data_dir, stack)
    assert (result.marks, result.is_opaque) == (2, True)
    assert result.implied == ((), (b"b", b"c"))


def test_no_mark_comes_from_an_archive(data_dir: Path) -> None:
    """Neither overlayfs's attributes nor its devices, whatever they are on."""
    headers = {
        f"SCHILY.xattr.{room}.overlay.{name}": value
        for room in ("trusted", "user")
        for name, value in (("opaque", "y"), ("redirect", "/etc"), ("metacopy", ""))
    }
    archive = tar(
        directory("d", pax_headers=headers),
        member("d/f", b"x", pax_headers=headers),
        member("d/w", kind=tarfile.CHRTYPE),
        directory("."),
    )
    (data_dir / "root").mkdir()
    assert unpacked_from(archive, data_dir / "root").skipped == 1
    assert all_attributes(data_dir / "root") == []
    assert not (data_dir / "root/d/w").exists()


def all_attributes(top: Path) -> list[str]:
    return [name for path in (top, *walk(top)) for name in os.listxattr(path)]
