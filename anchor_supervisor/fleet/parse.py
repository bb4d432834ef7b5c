"""fleet.toml to a `Fleet`: every mistake in the file is found, and told at once, with its place.

The only module of this room that reads files: the fleet file, `.env` beside it, and what
`env_file` names.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from attrs import evolve

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet import grants, schema, values
from anchor_supervisor.fleet.attachments import DEFAULT_NETWORK, attached
from anchor_supervisor.fleet.check import findings
from anchor_supervisor.fleet.container import container
from anchor_supervisor.fleet.env_file import parse_env
from anchor_supervisor.fleet.interpolate import interpolate
from anchor_supervisor.fleet.model import Container, Fleet, LimitsMode, Network
from anchor_supervisor.fleet.places import Place, join, key_lines
from anchor_supervisor.fleet.sheet import Sheet, Table, table_of
from anchor_supervisor.fleet.surroundings import Surroundings
from anchor_supervisor.fleet.wording import Mistake, show

LARGEST_FILE: Final = 1 << 20  # bytes; a fleet of a thousand containers takes about 200 KiB
DEEPEST_KEY: Final = 32  # parts of a dotted key
LONGEST_KEY: Final = 256  # letters of one part
MOST_CONTAINERS: Final = 1000
MOST_PARALLEL: Final = 1000

# tomllib takes memory and time as the square of a dotted key's length, so we look first.
_DEEP_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9_-])"
    r"""(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{DEEPEST_KEY}}}"
)
_TOML_LINE: Final = re.compile(r" \(at line ([0-9]+), column [0-9]+\)\Z")


def load(path: Path, environment: Mapping[str, str]) -> Fleet:
    """Read a fleet file and check it, as `load_files` does."""
    return load_files([path], environment, ())


def load_files(
    files: Sequence[Path], environment: Mapping[str, str], profiles: Sequence[str]
) -> Fleet:
    """Read the files of one fleet, and check it. Of what several say, the later one counts.

    `environment` is for `${VAR}`, and wins over the `.env` beside each file. A container that has
    profiles is in the fleet where one of them is among `profiles`, or where that has `*`. Raises
    FleetError with every problem found.
    """
    [path] = files
    directory = path.absolute().parent
    try:
        text = _read_text(path)
        dotenv = _dotenv(directory / ".env", environment)
    except Mistake as mistake:
        raise FleetError([Problem(mistake.message, str(path), hint=mistake.hint)]) from mistake
    fleet = loads(
        text, file=str(path), directory=str(directory), environment={**dotenv, **environment}
    )
    return evolve(fleet, files=(str(path.absolute()),), profiles=tuple(profiles))


def loads(text: str, *, file: str | None, directory: str, environment: Mapping[str, str]) -> Fleet:
    """Read the text of a fleet file and check it. Relative paths are taken from `directory`.

    Raises FleetError with every problem found.
    """
    if (deep := _DEEP_KEY.search(text)) is not None:
        line = text.count("\n", 0, deep.start()) + 1
        raise FleetError([Problem(f"a dotted key of more than {DEEPEST_KEY} parts", file, line)])
    try:
        document = tomllib.loads(text)
        return structure(
            document,
            lines=key_lines(text),
            file=file,
            directory=directory,
            environment=environment,
        )
    except RecursionError:
        problem = Problem("tables or lists are nested too deeply", file)
        raise FleetError([problem]) from None
    except tomllib.TOMLDecodeError as error:
        raise FleetError([_syntax_problem(str(error), file)]) from error
    except ValueError as error:  # what int() says to thousands of digits
        raise FleetError([Problem("a number in the file has too many digits", file)]) from error


def structure(
    document: Mapping[str, object],
    *,
    lines: Mapping[str, int],
    file: str | None,
    directory: str,
    environment: Mapping[str, str],
) -> Fleet:
    """Turn what tomllib returned into a checked fleet. Raises FleetError with every problem."""
    sheet = Sheet(file, lines)
    expanded = _expanded(sheet, "", dict(document), environment)
    fleet = _fleet(sheet, expanded, Surroundings(directory, environment, _text_of, _bytes_of))
    # What follows from something that could not be read is not told as well.
    news = [
        finding
        for finding in findings(fleet)
        if not sheet.covers(finding.key) and not any(map(sheet.blames, finding.because))
    ]
    for finding in news:
        sheet.report(finding.key, finding.message, finding.hint)
    if sheet.problems:
        told = sorted(sheet.problems, key=_reading_order)
        if sheet.unsaid:
            told.append(Problem(f"and {sheet.unsaid} more problems", file))
        raise FleetError(told)
    return fleet


def _reading_order(problem: Problem) -> tuple[str, int, str]:
    return problem.file or "", problem.line or 0, problem.key or ""


def _fleet(sheet: Sheet, document: object, around: Surroundings) -> Fleet:
    root = Table(sheet, "", document, schema.DOCUMENT)
    head = Table(sheet, "fleet", root.get("fleet", {}), schema.FLEET)
    name = _name(sheet, head)
    around = evolve(around, fleet=name, sources=grants.sources(sheet, root, around))
    containers = _containers(sheet, root, around)
    networks = _networks(sheet, root, containers)
    return Fleet(
        name=name,
        containers=MappingProxyType(
            {name: attached(container, networks) for name, container in containers.items()}
        ),
        networks=MappingProxyType(networks),
        volumes=_volumes(sheet, root),
        limits=head.read("limits", values.choice(LimitsMode), LimitsMode.STRICT),
        parallel=head.read("parallel", values.whole(1, MOST_PARALLEL), None),
        file=sheet.file,
        directory=around.directory,
        places=MappingProxyType(
            {key: Place(sheet.file, line, key) for key, line in sheet.lines.items()}
        ),
    )


def _name(sheet: Sheet, head: Table) -> str:
    if "name" in head:
        return head.read("name", values.filled_text, "unnamed")
    if sheet.file is None:
        sheet.report("fleet.name", "the fleet has no name", 'add `[fleet]` with `name = "..."`')
        return "unnamed"
    return Path(sheet.file).stem


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


def _networks(sheet: Sheet, root: Table, containers: Mapping[str, Container]) -> dict[str, Network]:
    """Read the networks; the default one is implied where a container is on it."""
    given = table_of(sheet, "networks", root.get("networks", {}))
    networks = {name: _network(sheet, name, value) for name, value in given.items()}
    if any(DEFAULT_NETWORK in wanted.networks for wanted in containers.values()):
        networks.setdefault(DEFAULT_NETWORK, Network(DEFAULT_NETWORK))
    return networks


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


def _expanded(sheet: Sheet, path: str, value: object, variables: Mapping[str, str]) -> object:
    """Replace `${VAR}` in every string; refuse what no later reader should have to think of."""
    match value:
        case str():
            return sheet.attempt(path, lambda _: _string(value, variables), value, value)
        case dict():
            for key in value:
                if len(key) > LONGEST_KEY:
                    sheet.report(path, f"key {show(key)} has more than {LONGEST_KEY} letters")
            return {
                key: _expanded(sheet, join(path, key), inner, variables)
                for key, inner in value.items()
                if len(key) <= LONGEST_KEY
            }
        case list():
            return [
                _expanded(sheet, f"{path}[{index}]", inner, variables)
                for index, inner in enumerate(value)
            ]
        case int() if not -(2**63) <= value < 2**63:
            sheet.report(path, f"{show(value)} cannot be meant")
            return value
        case _:
            return value


def _string(text: str, variables: Mapping[str, str]) -> str:
    expanded = interpolate(text, variables)
    if "\0" in expanded:  # the kernel would take it for the end
        message = f"{show(text)} has a NUL character in it"
        raise Mistake(message)
    return expanded


def _syntax_problem(message: str, file: str | None) -> Problem:
    """Find the line: tomllib says where only in words."""
    found = _TOML_LINE.search(message)
    line = int(found.group(1)) if found else None
    words = message[: found.start()] if found else message
    return Problem(f"not valid TOML: {words[:1].lower()}{words[1:]}", file, line)


def _dotenv(path: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    if not path.exists():
        return {}
    return parse_env(_read_text(path), file=str(path), environment=environment)


def _text_of(path: str) -> str:
    return _read_text(Path(path))


def _bytes_of(path: str) -> bytes:
    return _read_bytes(Path(path))


def _read_text(path: Path) -> str:
    """Read a plain UTF-8 file of bearable size. Raises Mistake."""
    content = _read_bytes(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{show(str(path))} is not UTF-8 text: line {line}"
        raise Mistake(message) from error


def _read_bytes(path: Path) -> bytes:
    """Read a plain file of bearable size. Raises Mistake."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = _content(descriptor) if regular else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"{show(str(path))} cannot be read: {error.strerror}"
        raise Mistake(message) from error
    except ValueError as error:  # a NUL in the path
        message = f"{show(str(path))} cannot be read: {error}"
        raise Mistake(message) from error
    if not regular:
        message = f"{show(str(path))} is not a plain file"
        raise Mistake(message)
    if len(content) > LARGEST_FILE:
        message = f"{show(str(path))} is larger than {LARGEST_FILE} bytes"
        raise Mistake(message)
    return content


def _content(descriptor: int) -> bytes:
    """Read a plain file, up to one byte more than is allowed."""
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(LARGEST_FILE + 1)
