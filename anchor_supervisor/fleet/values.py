"""One TOML value each: what its type must be, and what it means. Raises Mistake, knows no place.

A number may also come as a string of digits, because `${VAR}` can only be written in a string.
"""

from __future__ import annotations

import enum
import math
import posixpath
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from anchor_supervisor.fleet import units
from anchor_supervisor.fleet.model import Image, ImageKind
from anchor_supervisor.fleet.tree import Origin
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, kind_of, show
from anchor_supervisor.patterns import pattern

E = TypeVar("E", bound=enum.StrEnum)

ARCHIVE_ENDINGS: Final = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tar.zst")
_STORE_NAME: Final = pattern(r"[A-Za-z0-9\[][A-Za-z0-9._:@/\[\]-]{0,511}")


def text(value: object) -> str:
    """Accept a string."""
    if not isinstance(value, str):
        message = f"{show(value)} is {kind_of(value)}, not a string"
        raise Mistake(message)
    return value


def filled_text(value: object) -> str:
    """Accept a string that is not empty."""
    if not text(value):
        raise Mistake("the value is empty")
    return text(value)


def plain(value: object) -> str:
    """Accept a string, or a whole number as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool | float):
        hint = f'in quotes: `"{show(value).strip("`")}"`'
        message = f"{show(value)} is {kind_of(value)}, not a string"
        raise Mistake(message, hint=hint)
    return text(value)


def boolean(value: object) -> bool:
    """Accept `true` or `false`."""
    if not isinstance(value, bool):
        hint = "without quotes" if value in ("true", "false") else None
        message = f"{show(value)} is {kind_of(value)}, not `true` or `false`"
        raise Mistake(message, hint=hint)
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """Accept a whole number from `low` to `high`, both included."""

    def read(value: object) -> int:
        number = units.parse_count(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int):
            message = f"{show(value)} is {kind_of(value)}, not a whole number"
            raise Mistake(message)
        if not low <= number <= high:
            message = f"{show(value)} is not between {low} and {high}"
            raise Mistake(message)
        return number

    return read


def fraction(low: float, high: float) -> Callable[[object], float]:
    """Accept a number from `low` to `high`, both included; `50%` is 0.5."""

    def read(value: object) -> float:
        if isinstance(value, str):
            parse = units.parse_percentage if value.endswith("%") else units.parse_decimal
            number: object = parse(value)
        else:
            number = value
        if isinstance(number, bool) or not isinstance(number, int | float):
            message = f"{show(value)} is {kind_of(value)}, not a number"
            raise Mistake(message)
        # A NaN fails both comparisons.
        if not (low <= number <= high):
            above = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            message = f"{show(value)} is not {above}"
            raise Mistake(message)
        return float(number)

    return read


def duration(low: float = 0.0, high: float = math.inf) -> Callable[[object], float]:
    """Accept `1h5m30s20ms` of `low` to `high` seconds; the result is in seconds."""

    def read(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = show(value).strip("`")
            message = f"`{shown}` has no unit"
            raise Mistake(message, hint=f'`"{shown}s"` is {shown} seconds')
        seconds = units.parse_duration(text(value))
        if seconds < low:
            message = f"{show(value)} is under {units.format_duration(low)}"
            raise Mistake(message)
        if seconds > high:
            message = f"{show(value)} is over {units.format_duration(high)}"
            raise Mistake(message)
        return seconds

    return read


def size(value: object) -> int:
    """Accept `64M`; a number without a unit is bytes. The result is in bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= units.LARGEST_SIZE:
            message = f"{show(value)} is not a size"
            raise Mistake(message)
        return value
    return units.parse_size(text(value))


def choice(kind: type[E], *, later: Collection[str] = ()) -> Callable[[object], E]:
    """Accept one of the enumeration's words; those of `later` are known but not supported yet."""

    def read(value: object) -> E:
        word = text(value)
        if word in later:
            message = f"{show(word)} is not supported yet"
            raise Mistake(message)
        known = [member.value for member in kind]
        if word not in known:
            near = did_you_mean(word, known)
            listed = ", ".join(f"`{name}`" for name in known)
            message = f"{show(word)} is none of {listed}"
            raise Mistake(message, hint=near)
        return kind(word)

    return read


def words(value: object) -> tuple[str, ...]:
    """Accept a list of strings, or one string split as a shell splits words. No shell runs."""
    if isinstance(value, list):
        return tuple(text(word) for word in value)
    if not isinstance(value, str):
        message = f"{show(value)} is {kind_of(value)}, not a list or a string"
        raise Mistake(message)
    try:
        import shlex  # only for what is not a list

        return tuple(shlex.split(value))
    except ValueError as error:
        message = f"{show(value)} cannot be split into words: {str(error).lower()}"
        raise Mistake(message) from error


def program(value: object) -> tuple[str, ...]:
    """Accept words of which the first is a program's name."""
    command = words(value)
    if not command or not command[0]:
        raise Mistake("the command is empty")
    return command


def pair(origin: Origin) -> Callable[[object], tuple[str, str]]:
    """Accept `K=V`; `K` alone takes the value that the variable has for the file it is in."""

    def read(value: object) -> tuple[str, str]:
        name, equals, given = text(value).partition("=")
        if equals:
            return name, given
        if name not in origin.environment:
            message = f"variable {show(name)} is not set"
            raise Mistake(message, hint=f"`{name}=` for an empty one")
        return name, origin.environment[name]

    return read


def one_or_more(value: object) -> object:
    """Let a single string stand for a list of one."""
    return [value] if isinstance(value, str) else value


def image(directory: str) -> Callable[[object], Image]:
    """Accept `host`, a path (beginning with a dot or a slash) or a name of the store.

    Whether a name is a reference is the image room's to say; here it only is no path.
    """

    def read(value: object) -> Image:
        reference = filled_text(value)
        if reference == "host":
            return Image(ImageKind.HOST, reference)
        if is_path(reference):
            archive = reference.lower().endswith(ARCHIVE_ENDINGS)
            kind = ImageKind.ARCHIVE if archive else ImageKind.DIRECTORY
            return Image(kind, absolute(reference, directory))
        if _STORE_NAME.fullmatch(reference) is None:
            message = f"{show(reference)} is not an image's name"
            hint = 'such as "debian", "ghcr.io/someone/tool:1.2", "host" or "./rootfs"'
            raise Mistake(message, hint=hint)
        return Image(ImageKind.STORE, reference)

    return read


def is_path(reference: str) -> bool:
    """Whether this names a file rather than something declared or stored elsewhere."""
    return reference in {".", ".."} or reference.startswith(("/", "./", "../"))


def absolute(path: str, directory: str) -> str:
    """Resolve a path of the file against the directory the file is in, as text."""
    return clean(posixpath.join(directory, path))


def clean(path: str) -> str:
    """Drop doubled and trailing slashes, `.` and `..` from an absolute path, as text.

    POSIX lets two leading slashes mean something of their own; Linux does not (path_resolution(7)).
    """
    normal = posixpath.normpath(path)
    return f"/{normal.lstrip('/')}" if normal.startswith("/") else normal
