"""What `--chmod` says: an octal number, or the words of chmod(1). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from anchor_supervisor.errors import BuildError

_OCTAL: Final = re.compile(r"0*[0-7]{1,4}", re.ASCII)
_CLAUSE: Final = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)", re.ASCII)
_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO: Final = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}

Change = Callable[[int, bool], int]
"""From a mode, and whether it is a directory's, to the mode it becomes."""


def read(text: str) -> Change:
    """Read it. Raises BuildError for what is neither."""
    if _OCTAL.fullmatch(text):
        number = int(text, 8)
        return lambda _mode, _directory: number
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    if not all(clauses):
        message = f"`--chmod={text}` is not a mode"
        raise BuildError(message, hint="such as `755`, or `u=rwX,go=rX`")
    parts = [match.groups() for match in clauses if match is not None]

    def change(mode: int, directory: bool) -> int:
        for who, sign, what in parts:
            mode = _apply(mode, who or "a", sign, what, directory=directory)
        return mode

    return change


def _apply(mode: int, who: str, sign: str, what: str, *, directory: bool) -> int:
    mask = 0
    for letter in who:
        mask |= _WHO[letter]
    bits = 0
    for letter in what:
        if letter == "X":
            bits |= 0o111 if directory or mode & 0o111 else 0
        elif letter == "s":
            bits |= 0o6000
        elif letter == "t":
            bits |= 0o1000
            mask |= 0o1000
        else:
            bits |= _BITS[letter]
    bits &= mask
    if sign == "+":
        return mode | bits
    if sign == "-":
        return mode & ~bits
    return (mode & ~mask) | bits
