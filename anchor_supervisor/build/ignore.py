"""`.dockerignore`: which paths of a context are left out. The same patterns serve `--exclude`.

Pure. `*` and `?` stay inside a name, `**` crosses directories, `!` takes back what an earlier line
left out, and a pattern that matches a directory matches all beneath it. The quirks are those of
moby/patternmatcher: `[^a]` matches a slash, and `**.o` every name that ends so.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Final, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.values import field, frozen

_SPECIAL: Final = re.compile(r"[*?\[\\]")
_STAR: Final = "[^/]*"
_DEEP: Final = "(?:.*/)?"
_REST: Final = ".*"

MOST_BACKTRACKED: Final = 2
"""Wildcards of any length in one pattern that `re` is trusted with: its time is their power."""

Match = Callable[[str], object]


@final
@frozen
class Pattern:
    """One pattern. `literal` is how everything that it matches begins."""

    text: str
    exception: bool
    literal: str
    matches: Match = field(eq=False, repr=False)


@final
@frozen
class Ignore:
    """The patterns of one file, in order; the last that matches a path decides."""

    patterns: tuple[Pattern, ...] = ()

    def excluded(self, path: str) -> bool:
        """Whether a path (relative, parted by slashes) is left out."""
        excluded = False
        for pattern in self.patterns:
            if pattern.exception == excluded and pattern.matches(path):
                excluded = not excluded
        return excluded

    def prunes(self, directory: str) -> bool:
        """Whether nothing beneath a directory can be wanted, so that nobody need look there.

        False may also mean that it cannot be told without looking.
        """
        inside = f"{directory}/"
        return self.excluded(directory) and not any(
            pattern.literal.startswith(inside) or inside.startswith(pattern.literal)
            for pattern in self.patterns
            if pattern.exception
        )


def read_ignore(text: str, *, file: str) -> Ignore:
    """Read a `.dockerignore`. Raises FleetError with every pattern that is none."""
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            patterns.append(_pattern(line.strip()))
        except Mistake as mistake:
            problems.append(Problem(mistake.message, file, number, None, mistake.hint))
    if problems:
        raise FleetError(problems)
    return Ignore(tuple(patterns))


def ignore(patterns: Iterable[str]) -> Ignore:
    """Return what leaves out these patterns, as those of `--exclude`. Raises Mistake."""
    return Ignore(tuple(_pattern(pattern.strip()) for pattern in patterns if pattern.strip()))


def _pattern(written: str) -> Pattern:
    exception = written.startswith("!")
    text = written.removeprefix("!").strip()
    if not text:
        raise Mistake("there is nothing after the `!`", hint="`!path` takes a path back in")
    # The root of the context is `/`: `/a`, `./a` and `a/` are all `a`.
    text = posixpath.normpath(text).lstrip("/") or "/"
    special = _SPECIAL.search(text)
    literal = text if special is None else text[: special.start()]
    return Pattern(text, exception, literal, _matcher(text))


def _matcher(text: str) -> Match:
    parts = _parts(text)
    lengths = [part for part in parts if part in (_STAR, _DEEP, _REST)]
    if len(lengths) <= MOST_BACKTRACKED:
        try:
            # What matches a directory matches all that is beneath it.
            return re.compile(f"(?:{''.join(parts)})(?:/.*)?", re.DOTALL).fullmatch
        except re.error as error:
            message = f"{show(text)} is not a pattern"
            raise Mistake(message) from error
    return _States([*parts, _BENEATH]).matches


_BENEATH: Final = "(?:/.*)?"


def _parts(text: str) -> list[str]:
    """Translate a pattern into regular expressions: one for each letter or wildcard."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        letter = text[position]
        if text.startswith("**", position):
            start = position == 0
            position += 2
            slash = text.startswith("/", position)
            position += slash
            rest = text[position:]
            # Without a slash, and with nothing special behind it, a leading `**` is any beginning.
            any_start = start and not slash and not _SPECIAL.search(rest)
            parts.append(_REST if not rest or any_start else _DEEP)
        elif letter in "*?":
            parts.append(_STAR if letter == "*" else "[^/]")
            position += 1
        elif letter == "[":
            group, position = _group(text, position)
            parts.append(group)
        elif letter == "\\":
            if position + 1 == len(text):
                message = f"{show(text)} ends with a backslash"
                raise Mistake(message, hint="`\\\\` is a backslash")
            parts.append(re.escape(text[position + 1]))
            position += 2
        else:
            parts.append(re.escape(letter))
            position += 1
    return parts


def _group(text: str, position: int) -> tuple[str, int]:
    """Translate `[a-c]`, `[^a]`, `[\\]]`; return it and where it ends."""
    start = position
    position += 1
    group = "["
    if text.startswith("^", position):
        group += "^"
        position += 1
    ranges: list[str] = []
    while not text.startswith("]", position) or not ranges:
        low, position = _grouped(text, start, position)
        high = low
        if text.startswith("-", position):
            high, position = _grouped(text, start, position + 1)
        if low > high:
            message = f"{show(text)}: {show(f'{low}-{high}')} runs backwards"
            raise Mistake(message)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"{group}{''.join(ranges)}]", position + 1


def _grouped(text: str, start: int, position: int) -> tuple[str, int]:
    """Return one letter inside brackets, and where the next begins."""
    escaped = text.startswith("\\", position)
    position += escaped
    letter = text[position : position + 1]
    if not letter or (not escaped and letter in "-]"):
        message = f"{show(text)}: the `[` at letter {start + 1} is not closed well"
        raise Mistake(message, hint="`\\[` is a bracket")
    return letter, position + 1


@final
class _States:
    """Matches part by part, all ways at once: slower than `re` mostly, and never much slower."""

    def __init__(self, parts: list[str]) -> None:
        self._parts = parts
        self._letters = [
            None if part in (_STAR, _DEEP, _REST, _BENEATH) else re.compile(part, re.DOTALL)
            for part in parts
        ]

    def matches(self, path: str) -> bool:
        # A state is the part that comes next, and whether a letter of it has been read.
        states = self._resting({(0, False)})
        for letter in path:
            states = self._resting(
                {each for state in states for each in self._after(letter, state)}
            )
        return (len(self._parts), False) in states

    def _resting(self, states: set[tuple[int, bool]]) -> set[tuple[int, bool]]:
        """Add where one can be without reading a letter."""
        found = set(states)
        for index, inside in states:
            while index < len(self._parts) and self._skips(index, inside=inside):
                index, inside = index + 1, False  # noqa: PLW2901 - goes on from there
                found.add((index, inside))
        return found

    def _skips(self, index: int, *, inside: bool) -> bool:
        """Whether a part may end here: a `**/` that was begun must end with a slash."""
        part = self._parts[index]
        return part in (_STAR, _REST, _BENEATH) or (part == _DEEP and not inside)

    def _after(self, letter: str, state: tuple[int, bool]) -> Iterable[tuple[int, bool]]:
        index, inside = state
        if index == len(self._parts):
            return
        part = self._parts[index]
        expression = self._letters[index]
        if expression is not None:
            if expression.fullmatch(letter):
                yield index + 1, False
        elif part == _STAR:
            if letter != "/":
                yield index, True
        elif part == _BENEATH:
            if inside or letter == "/":
                yield index, True
        else:
            yield index, True
            if part == _DEEP and letter == "/":
                yield index + 1, False
