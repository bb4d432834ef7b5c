"""fleet.toml to a `Fleet`: every mistake in the files is found, and told at once, with its place.

A fleet may be of several files. Each is read to a tree (`read`, `document`) and gets what it
includes (`include`); the trees are merged (`merge`), containers get what they extend (`extends`),
and only then is anything understood. Which containers are there this time, `profiles` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet import check, schema, values
from anchor_supervisor.fleet.attachments import DEFAULT_NETWORK, attached
from anchor_supervisor.fleet.container import container
from anchor_supervisor.fleet.document import parse_document, tree_of
from anchor_supervisor.fleet.extends import with_extends
from anchor_supervisor.fleet.include import with_includes
from anchor_supervisor.fleet.merge import merge
from anchor_supervisor.fleet.model import Container, Fleet, LimitsMode, Network
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.profiles import active
from anchor_supervisor.fleet.read import TEXT, Reader, read_bytes, read_text
from anchor_supervisor.fleet.sheet import Sheet, Table, table_of
from anchor_supervisor.fleet.surroundings import Surroundings
from anchor_supervisor.fleet.tree import Node, Origin, flatten
from anchor_supervisor.values import evolve

MOST_CONTAINERS: Final = 1000
MOST_PARALLEL: Final = 1000


def load(path: Path, environment: Mapping[str, str]) -> Fleet:
    """Read a fleet of one file and check it, as `load_files` does."""
    return load_files([path], environment, ())


def load_files(
    files: Sequence[Path], environment: Mapping[str, str], profiles: Sequence[str]
) -> Fleet:
    """Read the files of one fleet, and check it. Of what several say, the later one counts.

    `environment` is for `${VAR}`, and wins over the `.env` beside each file. A container that has
    profiles is in the fleet where one of them is among `profiles`, or where that has `*`. Raises
    FleetError with every problem found.
    """
    if not files:
        raise FleetError([Problem("no file is named")])
    reader = Reader(environment)
    trees: list[Node] = []
    problems: list[Problem] = []
    for path in files:
        try:
            trees.append(with_includes(*reader.given(path), reader))
        except FleetError as error:
            problems += error.problems
    if problems:
        raise FleetError(sorted(problems, key=_reading_order))
    fleet = _understood(reduce(merge, trees), trees[0].origin, reader, profiles)
    return evolve(fleet, files=tuple(str(path.absolute()) for path in files))


def loads(text: str, *, file: str | None, directory: str, environment: Mapping[str, str]) -> Fleet:
    """Read the text of a fleet file and check it. Relative paths are taken from `directory`.

    Raises FleetError with every problem found.
    """
    origin = Origin(file, directory, environment)
    return _of_one(parse_document(text, origin), origin)


def structure(
    document: Mapping[str, object],
    *,
    lines: Mapping[str, int],
    file: str | None,
    directory: str,
    environment: Mapping[str, str],
) -> Fleet:
    """Turn what tomllib returned into a checked fleet. Raises FleetError with every problem."""
    origin = Origin(file, directory, environment)
    return _of_one(tree_of(document, lines, origin), origin)


def _of_one(node: Node, origin: Origin) -> Fleet:
    reader = Reader(origin.environment)
    return _understood(with_includes(node, TEXT, reader), origin, reader, ())


def _understood(root: Node, home: Origin, reader: Reader, profiles: Sequence[str]) -> Fleet:
    """Make a checked fleet of a tree that has everything in it. `home` is the first file."""
    extended = with_extends(root, reader)
    flat = flatten(extended.root)
    sheet = Sheet(flat, home)
    for problem in extended.problems:
        sheet.add(problem)
    for name in extended.broken:
        sheet.suspect(join("containers", name))
    declared = evolve(_fleet(sheet, flat.document), places=flat.places, profiles=tuple(profiles))
    whole = _on_networks(declared, declared.containers)
    fleet = _on_networks(declared, active(declared.containers, profiles))
    # What follows from something that could not be read is not told as well.
    news = [
        finding
        for finding in check.findings(fleet, whole)
        if not sheet.covers(finding.key) and not any(map(sheet.blames, finding.because))
    ]
    for finding in news:
        sheet.report(finding.key, finding.message, finding.hint)
    if sheet.problems:
        told = sorted(sheet.problems, key=_reading_order)
        if sheet.unsaid:
            told.append(Problem(f"and {sheet.unsaid} more problems", home.file))
        raise FleetError(told)
    return fleet


def _reading_order(problem: Problem) -> tuple[str, int, str]:
    return problem.file or "", problem.line or 0, problem.key or ""


def _fleet(sheet: Sheet, document: object) -> Fleet:
    """Read every table. The networks are those that are declared."""
    root = Table(sheet, "", document, schema.DOCUMENT)
    head = Table(sheet, "fleet", root.get("fleet", {}), schema.FLEET)
    name = _name(sheet, head)
    around = Surroundings(read_text, read_bytes, name)
    if {"secrets", "configs"} & root.given:
        from anchor_supervisor.fleet import grants

        around = evolve(around, sources=grants.sources(sheet, root, around))
    return Fleet(
        name=name,
        containers=MappingProxyType(_containers(sheet, root, around)),
        networks=MappingProxyType(_networks(sheet, root)),
        volumes=_volumes(sheet, root),
        limits=head.read("limits", values.choice(LimitsMode), LimitsMode.STRICT),
        parallel=head.read("parallel", values.whole(1, MOST_PARALLEL), None),
        file=sheet.home.file,
        directory=sheet.home.directory,
    )


def _name(sheet: Sheet, head: Table) -> str:
    if "name" in head:
        return head.read("name", values.filled_text, "unnamed")
    if sheet.home.file is None:
        sheet.report("fleet.name", "the fleet has no name", 'add `[fleet]` with `name = "..."`')
        return "unnamed"
    return Path(sheet.home.file).stem


def _containers(sheet: Sheet, root: Table, around: Surroundings) -> dict[str, Container]:
    if "containers" not in root:
        sheet.report("", "the file has no containers", 'add `[containers.web]`, `image = "host"`')
        return {}
    tables = table_of(sheet, "containers", root.get("containers"))
    if not tables and not sheet.blames("containers"):
        sheet.report("containers", "the file has no containers")
    if len(tables) > MOST_CONTAINERS:
        message = f"{len(tables)} containers are more than the {MOST_CONTAINERS} a fleet may have"
        sheet.report("containers", message)
        return {}
    return {name: container(sheet, name, value, around) for name, value in tables.items()}


def _networks(sheet: Sheet, root: Table) -> dict[str, Network]:
    given = table_of(sheet, "networks", root.get("networks", {}))
    return {name: _network(sheet, name, value) for name, value in given.items()}


def _on_networks(fleet: Fleet, containers: Mapping[str, Container]) -> Fleet:
    """Return the fleet of these containers; one on the default network implies that."""
    networks = dict(fleet.networks)
    if any(DEFAULT_NETWORK in wanted.networks for wanted in containers.values()):
        networks.setdefault(DEFAULT_NETWORK, Network(DEFAULT_NETWORK))
    on_them = {name: attached(wanted, networks) for name, wanted in containers.items()}
    return evolve(fleet, containers=MappingProxyType(on_them), networks=MappingProxyType(networks))


def _network(sheet: Sheet, name: str, value: object) -> Network:
    table = Table(sheet, join("networks", name), value, schema.NETWORK)
    if table.read("ipv6", values.boolean, default=False):
        sheet.report(table.at("ipv6"), "`ipv6 = true` is not supported yet")
    return Network(
        name,
        subnet=table.read("subnet", values.filled_text, None),
        internal=table.read("internal", values.boolean, default=False),
    )


def _volumes(sheet: Sheet, root: Table) -> frozenset[str]:
    given = table_of(sheet, "volumes", root.get("volumes", {}))
    for name, value in given.items():
        Table(sheet, join("volumes", name), value, schema.VOLUME)
    return frozenset(given)
