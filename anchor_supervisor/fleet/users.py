"""`USER` and `USER:GROUP`: names and numbers that mean what they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.units import parse_id
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.patterns import pattern

PRIVATE_IDS: Final = 65536
"""Ids of a user namespace of the container's own."""

# passwd(5), and the `$` of machine accounts (useradd(8)).
_USER_NAME: Final = pattern(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
_STARTS_AS_NUMBER: Final = pattern(r"[-+]?\d")


def check_user(text: str) -> None:
    """Raise the first of the `user_mistakes`."""
    for mistake in user_mistakes(text):
        raise mistake


def user_mistakes(text: str) -> Iterator[Mistake]:
    """Yield what is wrong with a user and its group.

    `1000:` and `:0` and a number that overflows have all meant root elsewhere: CVE-2024-40635 (an
    id above 2**31 - 1), CVE-2026-30892 (a name read as a number).
    """
    parts = text.split(":")
    if len(parts) > 2 or not all(parts):
        message = f"{show(text)} is not a user"
        yield Mistake(message, hint="`USER` or `USER:GROUP`, names or numbers")
        return
    for part, what in zip(parts, ("user", "group"), strict=False):
        if _STARTS_AS_NUMBER.match(part) is None:
            if _USER_NAME.fullmatch(part) is None:
                yield Mistake(f"{show(part)} is not the name of a {what}")
            continue
        try:
            parse_id(part)
        except Mistake as mistake:
            yield Mistake(f"{what}: {mistake.message}", hint=mistake.hint)


def foreign_ids(text: str) -> Iterator[str]:
    """Yield, in words, the numbers of a right user that a namespace of its own does not have."""
    for part, what in zip(text.split(":"), ("user", "group"), strict=False):
        if part.isdecimal() and int(part) >= PRIVATE_IDS:
            yield f"{what} `{part}` is not among the {PRIVATE_IDS} ids of the container"
