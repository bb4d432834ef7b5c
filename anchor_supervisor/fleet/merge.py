"""How a later value changes an earlier one: of two files, or of a container and what it extends.

Tables merge key by key; a scalar or a list takes the earlier one's place, but for the lists of
`APPENDED`, which grow. A short form merges as the table that it stands for. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.fleet.grants import DIRECTORIES
from anchor_supervisor.fleet.model import GrantKind
from anchor_supervisor.fleet.tree import Node
from anchor_supervisor.fleet.values import clean, pair
from anchor_supervisor.fleet.wording import Mistake
from anchor_supervisor.values import evolve

Trail = tuple[str, ...]
"""Keys from the top; `*` is any name."""

_CONTAINER: Final = ("containers", "*")
_NAMED: Final = frozenset({"containers", "networks", "volumes", "secrets", "configs"})


def _target_of_volume(node: Node) -> object:
    if not isinstance(node.scalar, str):
        return None
    parts = node.scalar.split(":")
    return clean(parts[0] if len(parts) == 1 else parts[1])


def _target_of_grant(kind: GrantKind) -> Callable[[Node], object]:
    def target(node: Node) -> object:
        given, source = node.get("target"), node.get("source") or node
        if given is not None:
            return clean(given.scalar) if isinstance(given.scalar, str) else None
        return DIRECTORIES[kind] + source.scalar if isinstance(source.scalar, str) else None

    return target


def _itself(node: Node) -> object:
    return node.scalar


def _nothing(_: Node) -> object:
    return None


APPENDED: Final[Mapping[str, Callable[[Node], object]]] = MappingProxyType(
    {
        "volumes": _target_of_volume,
        "ports": _itself,
        "secrets": _target_of_grant(GrantKind.SECRET),
        "configs": _target_of_grant(GrantKind.CONFIG),
        "env_file": _nothing,
    }
)
"""Lists of a container that grow. Of two elements for which this is the same, not None, the later
takes the place of the earlier."""

_PROBES: Final = frozenset({"exec", "http", "tcp", "log", "notify"})
_SOURCES: Final = frozenset({"file", "environment", "content"})

ALTERNATIVES: Final[Mapping[Trail, frozenset[str]]] = MappingProxyType(
    {
        (*_CONTAINER, "health"): _PROBES,
        (*_CONTAINER, "startup"): _PROBES,
        (*_CONTAINER, "schedule"): frozenset({"every", "cron"}),
        ("secrets", "*"): _SOURCES,
        ("configs", "*"): _SOURCES,
    }
)
"""Keys of which a table has only one: a later one takes the place of all of them."""


def _stands_for(key: str) -> Callable[[Node], Node]:
    """A string alone is the value of this key."""

    def table(node: Node) -> Node:
        if not isinstance(node.scalar, str):
            return node
        return evolve(node, mistakes=(), scalar=None, table={key: node})

    return table


def _listed(entry: Callable[[Node], tuple[str, Node]]) -> Callable[[Node], Node]:
    """A list of strings is a table with an entry for each."""

    def table(node: Node) -> Node:
        elements = node.elements or ()
        if node.elements is None or not all(isinstance(one.scalar, str) for one in elements):
            return node
        return evolve(node, elements=None, table=dict(map(entry, elements)))

    return table


def _assignment(node: Node) -> tuple[str, Node]:
    try:
        name, value = pair(node.origin)(node.scalar)
    except Mistake as mistake:
        return str(node.scalar), evolve(node, mistakes=(*node.mistakes, mistake))
    return name, evolve(node, scalar=value)


def _started(node: Node) -> tuple[str, Node]:
    return str(node.scalar), evolve(node, scalar="started")


def _attached(node: Node) -> tuple[str, Node]:
    return str(node.scalar), evolve(node, scalar=None, table={})


_SHORT: Final[Mapping[Trail, Callable[[Node], Node]]] = MappingProxyType(
    {
        (*_CONTAINER, "environment"): _listed(_assignment),
        (*_CONTAINER, "depends_on"): _listed(_started),
        (*_CONTAINER, "depends_on", "*"): _stands_for("condition"),
        (*_CONTAINER, "networks"): _listed(_attached),
        (*_CONTAINER, "restart"): _stands_for("when"),
        (*_CONTAINER, "build"): _stands_for("context"),
        (*_CONTAINER, "build", "args"): _listed(_assignment),
    }
)


def merge(earlier: Node, later: Node) -> Node:
    """Return the document that two are together; the later one wins."""
    return _merged(earlier, later, ())


def merge_container(earlier: Node, later: Node) -> Node:
    """Return what a container is with another one beneath it; it stays where it is written."""
    both = _merged(earlier, later, _CONTAINER)
    return evolve(both, origin=later.origin, line=later.line, path=later.path)


def _merged(earlier: Node, later: Node, trail: Trail) -> Node:
    if trail == (*_CONTAINER, "extends"):
        return later
    if trail[:-1] == _CONTAINER and trail[-1] in APPENDED:
        return _appended(earlier, later, APPENDED[trail[-1]])
    if (long := _SHORT.get(trail)) is not None and not (_is_scalar(earlier) and _is_scalar(later)):
        earlier, later = long(earlier), long(later)
    if earlier.table is None or later.table is None:
        return later
    table = dict(earlier.table)
    alternatives = ALTERNATIVES.get(trail, frozenset())
    if alternatives & later.table.keys():
        table = {key: node for key, node in table.items() if key not in alternatives}
    for key, node in later.table.items():
        before = table.get(key)
        table[key] = node if before is None else _merged(before, node, _beneath(trail, key))
    return evolve(earlier, table=table, mistakes=(*earlier.mistakes, *later.mistakes))


def _is_scalar(node: Node) -> bool:
    return node.table is None and node.elements is None


def _beneath(trail: Trail, key: str) -> Trail:
    named = trail in {(name,) for name in _NAMED} or trail == (*_CONTAINER, "depends_on")
    return (*trail, "*" if named else key)


def _appended(earlier: Node, later: Node, identity: Callable[[Node], object]) -> Node:
    """Let a list grow; a string alone is a list of one."""
    before, after = _elements(earlier), _elements(later)
    if before is None or after is None:
        return later
    new = {what: node for node in after if (what := identity(node)) is not None}
    kept = [new.pop(identity(node), node) for node in before]
    added = [node for node in after if (what := identity(node)) is None or what in new]
    return evolve(later, scalar=None, elements=(*kept, *added))


def _elements(node: Node) -> tuple[Node, ...] | None:
    if isinstance(node.scalar, str):
        return (node,)
    return node.elements
