"""`extends`: a container made of another one, of the same fleet or of another file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.include import with_includes
from anchor_supervisor.fleet.merge import merge_container
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.read import Identity, Reader
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.tree import MOST_VALUES, Node, Origin, flatten, size
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show
from anchor_supervisor.values import evolve, frozen

LONGEST_CHAIN: Final = 20  # containers that extend one another


@final
@frozen(eq=False)
class Extended:
    """`root` with every container complete; `broken` are the names of those that could not be.

    `problems` say why, each with its place.
    """

    root: Node
    problems: tuple[Problem, ...] = ()
    broken: frozenset[str] = frozenset()


def with_extends(root: Node, reader: Reader) -> Extended:
    """Complete every container that extends another. What cannot be read is told, and left out."""
    found = root.get("containers")
    if root.table is None or found is None or found.table is None:
        return Extended(root)
    if not any(one.get("extends") for one in found.table.values()):
        return Extended(root)
    work = _Extension(reader)
    scope = _Scope(None, root)
    containers = {name: work.complete(scope, name, ()) for name in found.table}
    whole = evolve(root, table={**root.table, "containers": evolve(found, table=containers)})
    broken = frozenset(name for name in containers if (None, name) in work.broken)
    return Extended(whole, tuple(work.problems), broken)


@final
@frozen(eq=False)
class _Scope:
    """Containers that can be extended by name: the fleet's own (`file` None), or another file's."""

    file: Identity | None
    root: Node

    @property
    def containers(self) -> Mapping[str, Node]:
        found = self.root.get("containers")
        return {} if found is None or found.table is None else found.table


_Known = tuple[Identity | None, str]


@final
class _Extension:
    """Follows each container to what it extends, once."""

    def __init__(self, reader: Reader) -> None:
        self.problems: list[Problem] = []
        self.broken: set[_Known] = set()
        self._reader = reader
        self._complete: dict[_Known, Node] = {}
        self._scopes: dict[Identity, _Scope] = {}
        self._heights: dict[_Known, int] = {}  # how many are beneath each
        self._weight = 0

    def complete(self, scope: _Scope, name: str, chain: tuple[_Known, ...]) -> Node:
        """Return the container with all it extends; note it among the broken where that fails."""
        known = (scope.file, name)
        if known not in self._complete:
            own = scope.containers[name]
            wanted = own.get("extends")
            below = None
            if wanted is not None:
                below = self._extended(scope, name, wanted, (*chain, known))
                if below is None:
                    self.broken.add(known)
            self._complete[known] = own if below is None else merge_container(below, own)
        return self._complete[known]

    def _extended(
        self, scope: _Scope, name: str, wanted: Node, chain: tuple[_Known, ...]
    ) -> Node | None:
        """Return what is extended, complete itself; None where something about it is wrong."""
        path = join(join("containers", name), "extends")
        flat = flatten(wanted, path)
        sheet = Sheet(flat, wanted.origin)
        below = None
        try:
            target = self._target(sheet, path, flat.document, scope)
            if target is not None:
                below = self._followed(*target, chain)
        except Mistake as mistake:
            sheet.report(path, mistake.message, mistake.hint)
        except FleetError as error:
            self.problems += error.problems
        self.problems += sheet.problems
        return below

    def _target(
        self, sheet: Sheet, path: str, value: object, scope: _Scope
    ) -> tuple[_Scope, str] | None:
        """Read the key; None where the sheet says what is wrong. Raises FleetError."""
        if not isinstance(value, dict):
            name = sheet.attempt(path, values.filled_text, value, "")
        else:
            table = Table(sheet, path, value, schema.EXTENDS)
            if "container" not in table:
                sheet.report(path, "`container` is missing")
            name = table.read("container", values.filled_text, "")
            file = table.read("file", values.filled_text, "")
            path = table.at("container")
            if file and not sheet.problems:
                try:
                    scope = self._scope(file, table.origin("file"))
                except Mistake as mistake:
                    sheet.report(table.at("file"), mistake.message, mistake.hint)
        if sheet.problems:
            return None
        if name not in scope.containers:
            where = "" if scope.file is None else f" in {show(scope.file.path)}"
            near = did_you_mean(name, scope.containers)
            sheet.report(path, f"there is no container {show(name)}{where}", near)
            return None
        return scope, name

    def _scope(self, name: str, around: Origin) -> _Scope:
        identity = self._reader.identify(name, around, {})
        if identity not in self._scopes:
            node = self._reader.named(name, around, {})
            self._scopes[identity] = _Scope(identity, with_includes(node, identity, self._reader))
        return self._scopes[identity]

    def _followed(self, scope: _Scope, name: str, chain: tuple[_Known, ...]) -> Node | None:
        known = (scope.file, name)
        if known in chain:
            circle = [*chain[chain.index(known) :], known]
            message = "`extends` in a circle: " + " -> ".join(map(_shown, circle))
            raise Mistake(message)
        too_long = f"more than {LONGEST_CHAIN} containers extend one another"
        if len(chain) >= LONGEST_CHAIN:
            raise Mistake(too_long)
        below = self.complete(scope, name, chain)
        if known in self.broken:
            return None
        # What was complete before has been followed by nobody on this way.
        height = self._heights[chain[-1]] = self._heights.get(known, 0) + 1
        if height >= LONGEST_CHAIN:
            raise Mistake(too_long)
        self._weight += size(below)
        if self._weight > MOST_VALUES:
            message = f"with what is extended, the fleet has more than {MOST_VALUES} values"
            raise Mistake(message)
        return below


def _shown(known: _Known) -> str:
    file, name = known
    return show(name) if file is None else f"{show(name)} in {show(file.path)}"
