"""The text of one file to a tree: TOML understood, variables replaced, every value at its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.interpolate import interpolate
from anchor_supervisor.fleet.places import key_lines
from anchor_supervisor.fleet.tree import Node, Origin, grow
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.patterns import pattern

DEEPEST_KEY: Final = 32  # parts of a dotted key

# tomllib takes memory and time as the square of a dotted key's length, so we look first.
_DEEP_KEY: Final = pattern(
    r"(?<![A-Za-z0-9_-])"
    r"""(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{DEEPEST_KEY}}}"
)
_AT_END: Final = " (at end of document)"
_TOML_LINE: Final = pattern(r" \(at line ([0-9]+), column [0-9]+\)\Z")


def parse_document(text: str, origin: Origin) -> Node:
    """Read the text of a file. Raises FleetError where it is no TOML, or TOML beyond all use."""
    file = origin.file
    if (deep := _DEEP_KEY.search(text)) is not None:
        line = text.count("\n", 0, deep.start()) + 1
        raise FleetError([Problem(f"a dotted key of more than {DEEPEST_KEY} parts", file, line)])
    import tomllib  # a command without a file needs it not

    try:
        return tree_of(tomllib.loads(text), key_lines(text), origin)
    except RecursionError:
        problem = Problem("tables or lists are nested too deeply", file)
        raise FleetError([problem]) from None
    except tomllib.TOMLDecodeError as error:
        raise FleetError([_syntax_problem(str(error), file, text)]) from error
    except ValueError as error:  # what int() says to thousands of digits
        raise FleetError([Problem("a number in the file has too many digits", file)]) from error


def tree_of(document: Mapping[str, object], lines: Mapping[str, int], origin: Origin) -> Node:
    """Make a tree of what tomllib returned, with its variables replaced."""
    return grow(document, lines, origin, lambda value: _scalar(value, origin.environment))


def _scalar(value: object, variables: Mapping[str, str]) -> object:
    """Replace `${VAR}`; refuse what no later reader should have to think of."""
    match value:
        case str():
            expanded = interpolate(value, variables)
            if "\0" in expanded:  # the kernel would take it for the end
                message = f"{show(value)} has a NUL character in it"
                raise Mistake(message)
            return expanded
        case int() if not -(2**63) <= value < 2**63:
            message = f"{show(value)} cannot be meant"
            raise Mistake(message)
        case _:
            return value


def _syntax_problem(message: str, file: str | None, text: str) -> Problem:
    """Find the line: tomllib says where only in words."""
    found = _TOML_LINE.search(message)
    line = int(found.group(1)) if found else None
    words = message[: found.start()] if found else message
    if words.endswith(_AT_END):
        line = text.rstrip().count("\n") + 1
        words = f"{words.removesuffix(_AT_END)} (at the end)"
    return Problem(f"not valid TOML: {words[:1].lower()}{words[1:]}", file, line)
