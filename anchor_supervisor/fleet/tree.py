"""What files say, as trees of values that know where they are written.

Trees of several files can be put together, and every value still knows its file, its line, the
directory that its relative paths start at, and the variables that its file sees. What is wrong with
a value stays with it, so that nobody hears of what another file has overridden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.places import LONGEST_PATH, Place, join
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.values import field, frozen

DEEPEST: Final = 100  # tables and lists inside one another
LONGEST_KEY: Final = 256  # letters of one part
MOST_VALUES: Final = 600_000
"""A file of the largest size has fewer; more come from many containers extending a large one."""


@final
@frozen(eq=False)
class Origin:
    """A file: `file` is its name for people, None for a text that is in none.

    `directory` is absolute, and where its relative paths start; `environment` is what `${VAR}` is
    looked up in.
    """

    file: str | None
    directory: str
    environment: Mapping[str, str] = field(repr=False)


@final
@frozen(eq=False)
class Node:
    """A value and where it is written: a `table`, a list's `elements`, or else a `scalar`.

    `path` is its dotted path in its own file; None where that is too long for anyone to read.
    """

    origin: Origin
    line: int | None = None
    path: str | None = None
    mistakes: tuple[Mistake, ...] = ()
    table: Mapping[str, Node] | None = field(default=None, repr=False)
    elements: tuple[Node, ...] | None = field(default=None, repr=False)
    scalar: object = field(default=None, repr=False)

    def get(self, *keys: str) -> Node | None:
        """Return what is at the end of these keys; None where there is no such thing."""
        node: Node | None = self
        for key in keys:
            if node is None or node.table is None:
                return None
            node = node.table.get(key)
        return node


def grow(
    document: object,
    lines: Mapping[str, int],
    origin: Origin,
    read: Callable[[object], object],
) -> Node:
    """Make a tree of what tomllib returned. `read` is asked what each scalar is.

    A Mistake that `read` raises stays with the value. Raises FleetError for what is nested too
    deeply to be looked at.
    """

    def grown(value: object, path: str, depth: int) -> Node:
        if depth > DEEPEST:
            raise FleetError([Problem("tables or lists are nested too deeply", origin.file)])
        line = lines.get(path)
        kept = path if len(path) <= LONGEST_PATH else None
        match value:
            case dict():
                long = [key for key in value if len(key) > LONGEST_KEY]
                table = {
                    key: grown(inner, join(path, key), depth + 1)
                    for key, inner in value.items()
                    if len(key) <= LONGEST_KEY
                }
                told = [f"key {show(key)} has more than {LONGEST_KEY} letters" for key in long]
                return Node(origin, line, kept, tuple(map(Mistake, told)), table=table)
            case list():
                elements = tuple(
                    grown(inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(value)
                )
                return Node(origin, line, kept, elements=elements)
            case _:
                try:
                    return Node(origin, line, kept, scalar=read(value))
                except Mistake as mistake:
                    return Node(origin, line, kept, (mistake,), scalar=value)

    return grown(document, "", 0)


@final
@frozen(eq=False)
class Flat:
    """A tree as plain values, and beside them what its nodes knew, by the path that they are at.

    `places` names each by the path in its own file; `mistakes` are told there.
    """

    document: object
    places: Mapping[str, Place]
    origins: Mapping[str, Origin]
    mistakes: tuple[tuple[str, Mistake], ...]


def flatten(root: Node, path: str = "") -> Flat:
    """Take a tree apart; its root is at `path`. Raises FleetError where it has too many values."""
    places: dict[str, Place] = {}
    origins: dict[str, Origin] = {}
    mistakes: list[tuple[str, Mistake]] = []
    count = 0

    def plain(node: Node, path: str) -> object:
        nonlocal count
        count += 1
        if count > MOST_VALUES:
            message = f"the fleet has more than {MOST_VALUES} values"
            raise FleetError([Problem(message, root.origin.file)])
        if len(path) <= LONGEST_PATH:
            places[path] = Place(node.origin.file, node.line, node.path or None)
            origins[path] = node.origin
        mistakes.extend((path, mistake) for mistake in node.mistakes)
        if node.table is not None:
            return {key: plain(inner, join(path, key)) for key, inner in node.table.items()}
        if node.elements is not None:
            return [plain(inner, f"{path}[{index}]") for index, inner in enumerate(node.elements)]
        return node.scalar

    document = plain(root, path)
    return Flat(document, MappingProxyType(places), MappingProxyType(origins), tuple(mistakes))


def size(node: Node) -> int:
    """Count the values of a tree, tables and lists included."""
    inner = (*(node.table or {}).values(), *(node.elements or ()))
    return 1 + sum(map(size, inner))


def same(one: Node, other: Node) -> bool:
    """Whether two trees say the same, and mean the same by it: relative paths start somewhere."""
    return one.origin.directory == other.origin.directory and _bare(one) == _bare(other)


def _bare(node: Node) -> object:
    return flatten(node).document
