"""`.env` and `env_file`: lines of `KEY=value`, read as compose reads them. No shell.

`#` opens a comment at the start of a line and after a blank; `export` in front is allowed. A
value in single quotes is taken as it is; in double quotes `\\n`, `\\r`, `\\t`, `\\"`, `\\\\`, `\\$`
are escapes; quoted values may span lines. Outside single quotes `${VAR}` is replaced, from the
environment and the lines above. `KEY` alone takes the environment's value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.interpolate import interpolate
from anchor_supervisor.fleet.wording import Mistake
from anchor_supervisor.patterns import pattern

_BLANK: Final = pattern(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = pattern(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(=?)[ \t]*")
_SINGLE: Final = pattern(r"'([^']*)'")
_DOUBLE: Final = pattern(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_PLAIN: Final = pattern(r"(?:[^\r\n#]|(?<![ \t])#)*")
_REST: Final = pattern(r"[ \t]*(?:#[^\n]*)?(?=\r?\n|\r?\Z)")
_ESCAPE: Final = pattern(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def parse_env(text: str, *, file: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Read every line, in order; a later one wins. Raises FleetError with each line's place."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    text = text.removeprefix("\ufeff")
    position = _end(_BLANK, text, 0)
    while position < len(text):
        try:
            position = _entry(text, position, values, environment)
        except Mistake as mistake:
            line = text.count("\n", 0, position) + 1
            problems.append(Problem(mistake.message, file, line, hint=mistake.hint))
            position = _next_line(text, position)
        position = _end(_BLANK, text, position)
    if problems:
        raise FleetError(problems)
    return values


def _entry(text: str, start: int, values: dict[str, str], environment: Mapping[str, str]) -> int:
    """Read the entry that starts here into `values`; return where it ends."""
    found = _KEY.match(text, start)
    if found is None or not (found.group(2) or _REST.match(text, found.end())):
        raise Mistake("the line is not of the form `KEY=value`")  # unshown: it may be a secret
    key, position = found.group(1), found.end()
    if not found.group(2):
        if key not in environment:
            message = f"variable `{key}` is not set"
            raise Mistake(message, hint=f"write `{key}=` for an empty one")
        values[key] = environment[key]
        return position
    # The environment wins over the file, also where one line of the file uses another.
    variables = {**values, **environment}
    if quoted := _SINGLE.match(text, position):
        values[key] = quoted.group(1)
    elif quoted := _DOUBLE.match(text, position):
        values[key] = interpolate(_unescape(quoted.group(1)), variables)
    elif text[position : position + 1] in {"'", '"'}:
        message = f"the value of `{key}` opens a quote that is never closed"
        raise Mistake(message)
    else:
        plain = _PLAIN.match(text, position)
        assert plain is not None
        values[key] = interpolate(plain.group().strip(), variables)
        return plain.end()
    if _REST.match(text, quoted.end()) is None:
        message = f"the value of `{key}` goes on after its closing quote"
        raise Mistake(message)
    return quoted.end()


def _unescape(text: str) -> str:
    r"""Replace escapes; an unknown one stays as it is. `\$` becomes `$$`, for interpolate."""
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found.group(1), found.group()), text)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1
