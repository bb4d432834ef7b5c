"""`[secrets.NAME]`, `[configs.NAME]`, and what a container takes of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import Grant, GrantKind
from anchor_supervisor.fleet.mounts import VOLUME_NAME
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.schema import Section
from anchor_supervisor.fleet.sheet import Sheet, Table, table_of
from anchor_supervisor.fleet.surroundings import Source, Sources, Surroundings
from anchor_supervisor.fleet.units import parse_mode
from anchor_supervisor.fleet.users import check_user
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, kind_of, show

LARGEST_CONTENT: Final = 1 << 20  # bytes; it lives in memory, in every container that takes it
TABLES: Final[Mapping[GrantKind, str]] = MappingProxyType(
    {GrantKind.SECRET: "secrets", GrantKind.CONFIG: "configs"}
)
_SECTIONS: Final[Mapping[GrantKind, Section]] = MappingProxyType(
    {GrantKind.SECRET: schema.SECRET, GrantKind.CONFIG: schema.CONFIG}
)
_MODES: Final[Mapping[GrantKind, int]] = MappingProxyType(
    {GrantKind.SECRET: 0o400, GrantKind.CONFIG: 0o444}
)
DIRECTORIES: Final[Mapping[GrantKind, str]] = MappingProxyType(
    {GrantKind.SECRET: "/run/secrets/", GrantKind.CONFIG: "/"}
)
_WAYS: Final = ("file", "environment", "content")


def sources(sheet: Sheet, root: Table, around: Surroundings) -> Sources:
    """Read both tables of the file. A content is read when first a container takes it."""
    return MappingProxyType(
        {
            (kind, name): _source(sheet, kind, name, value, around)
            for kind, key in TABLES.items()
            for name, value in table_of(sheet, key, root.get(key, {})).items()
        }
    )


def _source(
    sheet: Sheet, kind: GrantKind, name: str, value: object, around: Surroundings
) -> Source:
    table = Table(sheet, join(TABLES[kind], name), value, _SECTIONS[kind])
    if VOLUME_NAME.fullmatch(name) is None:
        hint = "letters, digits, `_`, `.` and `-`, at most 63"
        sheet.report(table.path, f"{show(name)} cannot name a {kind}", hint)
    possible = [way for way in _WAYS if way in _SECTIONS[kind]]
    given = [way for way in possible if way in table]
    if len(given) != 1 and not sheet.blames(table.path):
        listed = " and ".join(f"`{way}`" for way in given) or "none"
        message = f"exactly one source is needed: {listed} given"
        sheet.report(table.path, message, ", ".join(possible[:-1]) + f" or {possible[-1]}")
    return Source(
        mode=table.read("mode", _mode, _MODES[kind]),
        owner=table.read("owner", _owner, None),
        content=functools.cache(functools.partial(_content, table, given, around)),
    )


def _content(table: Table, given: list[str], around: Surroundings) -> bytes | None:
    """Read the one source there is; None, with the reason noted, where that is impossible."""

    def read(value: object) -> bytes:
        origin = table.origin(given[0])
        text = values.text(value) if given == ["content"] else values.filled_text(value)
        match given[0]:
            case "file":
                content = around.read_bytes(values.absolute(text, origin.directory))
            case "environment":
                content = _variable(text, origin.environment)
            case _:
                content = text.encode()
        if len(content) > LARGEST_CONTENT:
            message = f"{show(text)} is larger than {LARGEST_CONTENT} bytes"
            raise Mistake("the content is too large" if given == ["content"] else message)
        return content

    return table.read(given[0], read, None) if len(given) == 1 else None


def _variable(name: str, environment: Mapping[str, str]) -> bytes:
    if name not in environment:
        message = f"variable {show(name)} is not set"
        raise Mistake(message)
    # As os.environ has what is not UTF-8.
    return environment[name].encode("utf-8", "surrogateescape")


def grants(
    sheet: Sheet, path: str, kind: GrantKind, value: object, declared: Sources
) -> tuple[Grant, ...]:
    """Read a container's list; what could not be read is left out, and noted."""
    if not isinstance(value, list):
        sheet.report(path, f"{show(value)} is {kind_of(value)}, not a list")
        return ()
    made = (
        _grant(sheet, f"{path}[{index}]", kind, element, declared)
        for index, element in enumerate(value)
    )
    return tuple(grant for grant in made if grant is not None)


def _grant(
    sheet: Sheet, path: str, kind: GrantKind, value: object, declared: Sources
) -> Grant | None:
    if isinstance(value, str):
        name = sheet.attempt(path, values.filled_text, value, None)
        return None if name is None else _of_source(sheet, path, kind, name, declared)
    if not isinstance(value, dict):
        message = f"{show(value)} is {kind_of(value)}, not a string or a table"
        sheet.report(path, message, '`"NAME"`, or `{ source = "NAME", target = "/path" }`')
        return None
    table = Table(sheet, path, value, schema.GRANT)
    if "source" not in table and not sheet.blames(path):
        sheet.report(path, "`source` is missing", f"the name of a {kind}")
    wanted: str | None = table.read("source", values.filled_text, None)
    if wanted is None:
        return None
    grant = _of_source(sheet, table.at("source"), kind, wanted, declared)
    target = table.read("target", _target, "")
    mode = table.read("mode", _mode, None)
    owner = table.read("owner", _owner, None)
    if grant is None:
        return None
    return Grant(
        kind,
        wanted,
        target or grant.target,
        grant.content,
        grant.mode if mode is None else mode,
        grant.owner if owner is None else owner,
    )


def _of_source(
    sheet: Sheet, path: str, kind: GrantKind, name: str, declared: Sources
) -> Grant | None:
    """Return the grant as its source has it; `path` is where the source is named."""
    source = declared.get((kind, name))
    if source is None:
        if not sheet.covers(TABLES[kind]):
            others = [other for one, other in declared if one is kind]
            hint = did_you_mean(name, others) or f"declare it: `[{TABLES[kind]}.{name}]`"
            sheet.report(path, f"there is no {kind} {show(name)}", hint)
        return None
    content = source.content()
    if content is None:
        return None
    return Grant(kind, name, f"{DIRECTORIES[kind]}{name}", content, source.mode, source.owner)


def _target(value: object) -> str:
    """Accept an absolute path; `..` is left for the check, which refuses it."""
    target = values.filled_text(value)
    if not target.startswith("/"):
        message = f"target {show(target)} is not an absolute path of the container"
        raise Mistake(message, hint=f"`/run/secrets/{target}`")
    return target if ".." in target.split("/") else values.clean(target)


def _mode(value: object) -> int:
    """Accept permission bits. A number would be read as decimal where octal is meant."""
    if not isinstance(value, str):
        message = f"{show(value)} is {kind_of(value)}, not a string"
        raise Mistake(message, hint='octal digits in quotes, as in `"0440"`')
    mode = parse_mode(value)
    if mode > 0o777:
        message = f"{show(value)} has more than permissions in it"
        raise Mistake(message, hint=f"`0{mode & 0o777:03o}`")
    return mode


def _owner(value: object) -> str:
    owner = values.plain(value)
    check_user(owner)
    return owner
