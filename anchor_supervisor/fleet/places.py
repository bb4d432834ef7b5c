"""Where each key of a TOML text is: dotted key path to 1-based line. tomllib does not say.

Reads only text that tomllib has accepted, so it looks for where things begin and end and never
judges them. A path is written as TOML would write it, with 0-based positions in lists:
``containers.web.ports[1]``, ``containers.web.sysctls."net.core.somaxconn"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, final

from anchor_supervisor.patterns import pattern

_BARE: Final = pattern(r"[A-Za-z0-9_-]+")
_BLANK: Final = pattern(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = pattern(r"[ \t]*")
_SCALAR: Final = pattern(r"[^,\]}#\r\n]*")
_STRING: Final = pattern(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_CONTAINER: Final = pattern(r'containers\.(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+)')
_LAST_PART: Final = pattern(r'(?:\[[0-9]+\]|\.?(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+))\Z')

LONGEST_PATH: Final = 512
"""Letters; what is deeper is found by what is around it. Memory grows as the square of depth."""


class Place(NamedTuple):
    """Where a key is written: the file as it was named, the 1-based line, its path in that file.

    The order is that of a `Problem`, which takes one whole: ``Problem(message, *place, hint)``.
    """

    file: str | None = None
    line: int | None = None
    key: str | None = None


def join(path: str, key: str) -> str:
    """Return the path of `key` in the table at `path` (empty for the whole document)."""
    part = key if _BARE.fullmatch(key) else _quote(key)
    return f"{path}.{part}" if path else part


def _quote(key: str) -> str:
    """Write a key as a TOML string without anything that a terminal would act on."""
    import json  # few keys need quotes

    return "".join(
        letter
        if letter.isprintable()
        else (f"\\u{ord(letter):04X}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08X}")
        for letter in json.dumps(key, ensure_ascii=False)
    )


def around(path: str) -> Iterator[str]:
    """Yield the paths of the tables and lists that hold this one, from the inside out."""
    while (found := _LAST_PART.search(path)) is not None and found.start() > 0:
        path = path[: found.start()]
        yield path


def nearest_place(places: Mapping[str, Place], path: str, file: str | None) -> Place:
    """Return the place of the path, or else of the closest table or list around it.

    What is beneath a place is named as it would be written there; `file` is for what is nowhere.
    """
    for one in (path, *around(path)):
        if (place := places.get(one)) is not None:
            return place._replace(key=f"{place.key or ''}{path[len(one) :]}" or None)
    return Place(file, None, path or None)


def named_for(place: Place, path: str) -> Place:
    """Name the container that a path is about, where what is at the place is another's.

    A container has the keys of one that it extends.
    """
    here, there = _CONTAINER.match(path), _CONTAINER.match(place.key or "")
    if here is None or there is None or here.group() == there.group():
        return place
    return place._replace(key=here.group() + (place.key or "")[there.end() :])


def key_lines(text: str) -> dict[str, int]:
    """Map every key path of a valid TOML text to the line where it is first written."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


@final
class _Scanner:
    """One pass over the text. `position` only grows; the line is counted along with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.lines: dict[str, int] = {}
        self.lengths: dict[str, int] = {}  # of arrays of tables, so far

    def document(self) -> None:
        """Read headers and key-value pairs until the end."""
        table = ""
        self.match(_BLANK)
        while self.position < len(self.text):
            if self.text[self.position] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.match(_BLANK)

    def match(self, pattern: re.Pattern[str]) -> str:
        """Take what the pattern matches here, nothing if it does not."""
        found = pattern.match(self.text, self.position)
        taken = found.group() if found else ""
        self.position += len(taken)
        self.line += taken.count("\n")
        return taken

    def note(self, path: str) -> None:
        """Remember the line of a path the first time it is seen."""
        if len(path) <= LONGEST_PATH:
            self.lines.setdefault(path, self.line)

    def header(self) -> str:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table it opens."""
        brackets = 2 if self.text.startswith("[[", self.position) else 1
        self.position += brackets
        path = ""
        keys = self.keys()
        for place, key in enumerate(keys):
            path = join(path, key)
            self.note(path)
            if brackets == 2 and place == len(keys) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            # `[a.b]` after `[[a]]` is about the last element of `a`.
            if path in self.lengths:
                path = f"{path}[{self.lengths[path] - 1}]"
                self.note(path)
        self.position += brackets
        return path

    def keys(self) -> list[str]:
        """Read a dotted key, blanks around it included."""
        keys: list[str] = []
        while True:
            self.match(_SPACE)
            keys.append(self.match(_BARE) or _unquote(self.match(_STRING)))
            self.match(_SPACE)
            if self.text[self.position] != ".":
                return keys
            self.position += 1

    def pair(self, table: str) -> None:
        """Read `key = value` into the table at this path."""
        path = table
        for key in self.keys():
            path = join(path, key)
            self.note(path)
        self.position += 1  # the `=`
        self.match(_SPACE)
        self.value(path)

    def value(self, path: str) -> None:
        """Pass over a value, noting what is inside it."""
        match self.text[self.position]:
            case '"' | "'":
                self.match(_STRING)
            case "[":
                self.array(path)
            case "{":
                self.inline_table(path)
            case _:
                self.match(_SCALAR)

    def array(self, path: str) -> None:
        """Pass over `[...]`, which may have line breaks and comments anywhere."""
        self.position += 1
        index = 0
        self.match(_BLANK)
        while self.text[self.position] != "]":
            element = f"{path}[{index}]"
            self.note(element)
            self.value(element)
            self.comma()
            index += 1
        self.position += 1

    def inline_table(self, path: str) -> None:
        """Pass over `{...}`."""
        self.position += 1
        self.match(_BLANK)
        while self.text[self.position] != "}":
            self.pair(path)
            self.comma()
        self.position += 1

    def comma(self) -> None:
        """Pass over a comma, if there is one, and the blanks on both sides."""
        self.match(_BLANK)
        if self.text[self.position] == ",":
            self.position += 1
            self.match(_BLANK)


def _unquote(token: str) -> str:
    """Let tomllib decode a quoted key: escapes are its business."""
    import tomllib

    return next(iter(tomllib.loads(f"{token} = 0")))
