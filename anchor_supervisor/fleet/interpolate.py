"""`${VAR}` and its kin in a string, as compose has them; an unset variable is an error here.

The forms: `$VAR`, `${VAR}`; `:-` and `-` default, `:?` and `?` message, `:+` and `+` other text
when set, each with a colon for `set and not empty`; `$$` for a dollar. What follows an operator may
hold further `${...}`. No shell: nothing is run, split or globbed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from anchor_supervisor.fleet.wording import Mistake, printable, show
from anchor_supervisor.patterns import pattern

_NAME: Final = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = pattern(r":?[-?+]")
DEEPEST: Final = 20  # `${A:-${B:-...}}`: levels

Variables = Mapping[str, str]


def interpolate(text: str, variables: Variables) -> str:
    """Return the text with its variables replaced. Raises Mistake, naming the variable."""
    if "$" not in text:
        return text
    result, end = _expand(text, 0, variables, depth=0)
    assert end == len(text)
    return result


def _expand(text: str, start: int, variables: Variables, *, depth: int) -> tuple[str, int]:
    """Expand from `start` up to the end or, inside braces, to the `}` that closes them."""
    if depth > DEEPEST:
        message = f"{show(text)} has more than {DEEPEST} `${{` inside one another"
        raise Mistake(message)
    parts: list[str] = []
    position = start
    while position < len(text):
        letter = text[position]
        if letter == "}" and depth:
            return "".join(parts), position
        if letter != "$":
            parts.append(letter)
            position += 1
            continue
        replacement, position = _dollar(text, position + 1, variables, depth=depth)
        parts.append(replacement)
    if depth:
        raise _unclosed(text)
    return "".join(parts), position


def _dollar(text: str, position: int, variables: Variables, *, depth: int) -> tuple[str, int]:
    """Expand what follows a dollar; return it and where it ends."""
    if text.startswith("$", position):
        return "$", position + 1
    if text.startswith("{", position):
        return _braces(text, position + 1, variables, depth=depth + 1)
    name = _NAME.match(text, position)
    if name is None:
        message = f"a `$` in {show(text)} is not followed by a variable"
        raise Mistake(message, hint="write `$$` for a dollar")
    return _value(name.group(), variables), name.end()


def _braces(text: str, position: int, variables: Variables, *, depth: int) -> tuple[str, int]:
    name = _NAME.match(text, position)
    if name is None:
        message = f"a `${{` in {show(text)} is not followed by a variable's name"
        raise Mistake(
            message,
            hint="write `$$` for a dollar",
        )
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        if not text.startswith("}", name.end()):
            message = (
                f"{show(text)}: `${{{name.group()}` is followed by neither `}}` nor an operator"
            )
            raise Mistake(
                message,
                hint="such as `${VAR:-default}` or `${VAR:?message}`",
            )
        return _value(name.group(), variables), name.end() + 1
    current = variables.get(name.group())
    given = bool(current) if operator.group().startswith(":") else current is not None
    kind = operator.group()[-1]
    # What is not wanted is passed over unread: the variables in it need not be set.
    if given != (kind == "+"):
        return (current or "") if given else "", _closing(text, operator.end()) + 1
    words, end = _expand(text, operator.end(), variables, depth=depth)
    if kind == "?":
        message = f"variable `{name.group()}` is not set: {printable(words) or 'required'}"
        raise Mistake(message)
    return words, end + 1


def _closing(text: str, position: int) -> int:
    """Find the `}` that closes the braces we are in, without reading what is before it."""
    level = 1
    while position < len(text):
        if text.startswith("$$", position):
            position += 2
        elif text.startswith("${", position):
            level += 1
            position += 2
        elif text[position] == "}":
            level -= 1
            if not level:
                return position
            position += 1
        else:
            position += 1
    raise _unclosed(text)


def _unclosed(text: str) -> Mistake:
    return Mistake(f"a `${{` in {show(text)} is never closed", hint="write `$$` for a dollar")


def _value(name: str, variables: Variables) -> str:
    if name not in variables:
        message = f"variable `{name}` is not set"
        raise Mistake(
            message,
            hint=f"set it, give `.env` a line for it, or write `${{{name}:-default}}`; "
            f"`$${name}` is for a shell in the container",
        )
    return variables[name]
