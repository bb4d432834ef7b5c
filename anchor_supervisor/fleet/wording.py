"""How a wrong value is worded: shown safely, and with the nearest thing that would be right.

Pure text. A value of the file ends up on a terminal, so nothing unprintable passes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final, final

LONGEST_SHOWN: Final = 80  # characters of a value that a message repeats
MOST_COMPARED: Final = 200  # names looked through for the one that was meant


@final
class Mistake(ValueError):  # noqa: N818 - the user's, not the program's
    """A value that cannot be meant. Whoever knows its place turns it into a `Problem`."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and the advice apart."""
        super().__init__(message)
        self.message = message
        self.hint = hint


def show(value: object) -> str:
    """Return the value in back-quotes as a person would type it: short, and all printable."""
    return f"`{printable(_typed(value))}`"


def printable(text: str) -> str:
    """Escape what a terminal would act on, and cut what is too long to read."""
    shown = escaped(text[:LONGEST_SHOWN])
    return shown if len(text) <= LONGEST_SHOWN else f"{shown}…"


def escaped(text: str) -> str:
    """Escape what a terminal would act on."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _typed(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        # Python refuses to print integers of more than 4,300 digits; TOML's have 64 bits.
        case int() if not -(2**63) <= value < 2**63:
            return "a number of more than 64 bits"
        case list():
            return "[]" if not value else "[…]"
        case dict():
            return "{}" if not value else "{…}"
        case _:
            return str(value)


def kind_of(value: object) -> str:
    """Name the TOML type of a value, with its article."""
    match value:
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean `x`?`` for the nearest known word, None where none is near."""
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near is not None else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like this one, None where none is near."""
    words = list(itertools.islice(known, MOST_COMPARED))
    import difflib  # for mistakes alone

    near = difflib.get_close_matches(word[:LONGEST_SHOWN], words, n=1)
    # Two letters changed about in a short word count as far apart there: `bd` for `db`.
    near += [one for one in words if len(one) <= 3 and sorted(one) == sorted(word)]
    return near[0] if near else None
