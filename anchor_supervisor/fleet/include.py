"""`include = ["other.toml"]`: what other files declare, put beside what a file declares itself.

Nothing is overridden: a name that two of them declare differently is a mistake, told with both
places. `[fleet]` of an included file is for running it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.read import Identity, Reader
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.tree import Node, flatten, same
from anchor_supervisor.fleet.wording import Mistake, kind_of, show
from anchor_supervisor.values import evolve

DEEPEST: Final = 20  # files that include one another
DECLARED: Final = ("containers", "networks", "volumes", "secrets", "configs")
"""The tables of names that an included file adds to."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def with_includes(node: Node, identity: Identity, reader: Reader) -> Node:
    """Return a file's tree with what it includes, and without `include`.

    Raises FleetError with everything that is wrong about its including.
    """
    inclusion = _Inclusion(reader)
    whole = inclusion.follow(node, (identity,))
    if inclusion.problems:
        raise FleetError(inclusion.problems)
    return whole


@final
class _Inclusion:
    """One walk from a file through all that it includes. A file that is met again adds nothing."""

    def __init__(self, reader: Reader) -> None:
        self.problems: list[Problem] = []
        self._reader = reader
        self._met: set[Identity] = set()

    def follow(self, node: Node, chain: tuple[Identity, ...]) -> Node:
        """Add what the file includes to what it declares. `chain` leads from the first to it."""
        self._met.add(chain[-1])
        wanted = node.get("include")
        if node.table is None or wanted is None:
            return node
        rest = {key: inner for key, inner in node.table.items() if key != "include"}
        own = evolve(node, table=rest)
        flat = flatten(wanted, "include")
        sheet = Sheet(flat, node.origin)
        for path, name, told in _entries(sheet, flat.document):
            included = self._included(sheet, path, name, {**dict(chain[-1].told), **told}, chain)
            if included is not None:
                own = self._united(own, included)
        self.problems += sheet.problems
        return own

    def _included(
        self,
        sheet: Sheet,
        path: str,
        name: str,
        told: Mapping[str, str],
        chain: tuple[Identity, ...],
    ) -> Node | None:
        """Read what the entry at `path` names; None where that was met before, or is wrong."""
        origin = sheet.origin(path)
        try:
            identity = self._reader.identify(name, origin, told)
            _refuse_circle(identity, chain)
            if identity in self._met:
                return None
            node = self._reader.named(name, origin, told)
        except Mistake as mistake:
            sheet.report(path, mistake.message, mistake.hint)
            return None
        except FleetError as error:
            self.problems += error.problems
            return None
        return self.follow(node, (*chain, identity))

    def _united(self, own: Node, included: Node) -> Node:
        """Add what the included file has, but for its `[fleet]`, which is only looked at."""
        table = dict(own.table or {})
        for key, node in (included.table or {}).items():
            if key == "fleet":
                flat = flatten(node, key)
                sheet = Sheet(flat, node.origin)
                Table(sheet, key, flat.document, schema.FLEET)
                self.problems += sheet.problems
            elif key in DECLARED and key in table:
                table[key] = self._declared(key, table[key], node)
            else:
                table.setdefault(key, node)  # what nobody knows is told by whoever reads the whole
        return evolve(own, table=table)

    def _declared(self, section: str, own: Node, included: Node) -> Node:
        for node in (own, included):
            if node.table is None:
                value = flatten(node).document
                message = f"{show(value)} is {kind_of(value)}, not a table"
                self.problems.append(Problem(message, node.origin.file, node.line, section))
                return own if node is included else included
        names = dict(own.table or {})
        for name, node in (included.table or {}).items():
            other = names.setdefault(name, node)
            if not same(other, node):
                here = (node.origin.file, node.line, join(section, name))
                self.problems.append(Problem(_twice(other), *here, hint=_TWICE_HINT))
        return evolve(own, table=names)


_TWICE_HINT: Final = "a file that is to change another is given after it on the command line"


def _twice(other: Node) -> str:
    place = ":".join(str(part) for part in (other.origin.file, other.line) if part is not None)
    return f"it is declared differently in {show(place)}"


def _refuse_circle(identity: Identity, chain: tuple[Identity, ...]) -> None:
    """Raise Mistake where a file would be included by itself, or too far down."""
    paths = [one.path for one in chain]
    if identity.path in paths:
        circle = [*paths[paths.index(identity.path) :], identity.path]
        message = "files include each other in a circle: " + " -> ".join(map(show, circle))
        raise Mistake(message)
    if len(chain) >= DEEPEST:
        message = f"more than {DEEPEST} files include one another"
        raise Mistake(message)


def _entries(sheet: Sheet, value: object) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield path, file and variables of each entry of the list, or of the one string."""
    paths = (
        [f"include[{number}]" for number in range(len(value))] if isinstance(value, list) else []
    )
    if not isinstance(value, list):
        value, paths = [value], ["include"]
    for path, entry in zip(paths, value, strict=True):
        if isinstance(entry, dict):
            table = Table(sheet, path, entry, schema.INCLUDE)
            file = table.read("file", values.filled_text, None)
            if "file" not in table:
                sheet.report(path, "`file` is missing")
            if file is not None:
                yield path, file, table.entries("environment", values.plain)
        elif name := sheet.attempt(path, values.filled_text, entry, ""):
            yield path, name, _NOTHING
