"""What questions can be asked with: options with a long and a short form, and what is no value.

A wrong value is said as everywhere in the command line: which option, what it is, why not, and a
hint; exit code 2.
"""

from __future__ import annotations

import argparse
import os
import tarfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, final

from attrs import frozen

from anchor_supervisor.cli.main import WrongUse

MOST: Final = 100_000
"""Of anything that is counted."""


@final
@frozen
class Default:
    """What an option is where nobody says it: in the long form, and in the short."""

    long: object
    short: object


def add_option(
    parser: argparse.ArgumentParser,
    flag: str,
    kind: Callable[[str], object],
    default: Default,
    words: str,
) -> None:
    """Declare an option whose default depends on the form; `settled` decides it."""
    short = "" if default.long == default.short else f", with --short {_shown(default.short)}"
    parser.add_argument(
        flag,
        type=kind,
        default=default,
        metavar=flag.lstrip("-").upper(),
        help=f"{words} (default {_shown(default.long)}{short})".replace("%", "%%"),
    )


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def settled(options: argparse.Namespace) -> argparse.Namespace:
    """Put the defaults of the wanted form in place."""
    for name, value in vars(options).items():
        if isinstance(value, Default):
            setattr(options, name, value.short if options.short else value.long)
    return options


def count(flag: str, most: int = MOST, least: int = 1) -> Callable[[str], int]:
    """Take a whole number. Raises WrongUse."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        message = f"`{flag}` is `{text}`: not a whole number from {least} to {most}"
        raise WrongUse(message, hint=f"such as `{flag} {min(20, most)}`")

    return parse


def counts(flag: str, most: int = MOST, *, several: int = 1) -> Callable[[str], tuple[int, ...]]:
    """Take whole numbers with commas between, each once, from the least; `several` at least."""

    def parse(text: str) -> tuple[int, ...]:
        hint = f"such as `{flag} 1,{min(100, most)}`"
        parts = [part.strip() for part in text.split(",")]
        for part in parts:
            if not (part.isascii() and part.isdigit() and 1 <= int(part) <= most):
                message = f"`{flag}` has `{part}`: not a whole number from 1 to {most}"
                raise WrongUse(message, hint=hint)
        numbers = tuple(sorted({int(part) for part in parts}))
        if len(numbers) < several:
            message = f"`{flag}` is `{text}`: {several} different numbers are needed to compare"
            raise WrongUse(message, hint=hint)
        return numbers

    return parse


def seconds(flag: str, most: float = 3600.0) -> Callable[[str], float]:
    """Take a number of seconds. Raises WrongUse."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if 0.1 <= value <= most:  # no NaN is
            return value
        message = f"`{flag}` is `{text}`: not a number of seconds from 0.1 to {most:g}"
        raise WrongUse(message, hint=f"such as `{flag} 5`")

    return parse


def words(flag: str, allowed: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Take words with commas between, each once, as they come. Raises WrongUse for another one."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
        for word in found:
            if word not in allowed:
                message = f"`{flag}` has `{word}`: there is no such one"
                raise WrongUse(message, hint=f"there are {', '.join(allowed)}")
        return found

    return parse


def root_image(flag: str, made_here: Collection[str] = ()) -> Callable[[str], Path | str]:
    """Take a directory with a root, a tar of one, or a word for what can be made here."""

    def parse(text: str) -> Path | str:
        if text in made_here:
            return text
        path = Path(text)
        hint = "a directory with a root file system, or a tar archive of one"
        if made_here:
            hint += f"; or {', '.join(f'`{one}`' for one in made_here)}, which is made"
        why = None
        if not path.exists():
            why = "there is no such file or directory"
        elif not path.is_dir() and not (path.is_file() and tarfile.is_tarfile(path)):
            why = "it is neither a directory nor a tar"
        if why is not None:
            message = f"`{flag}` is `{text}`: {why}"
            raise WrongUse(message, hint=hint)
        return path.resolve()

    return parse


def writable_directory(flag: str, place: Path) -> Path:
    """Make the directory where it is missing. Raises WrongUse where it cannot be written to."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror
    else:
        why = None if os.access(place, os.W_OK | os.X_OK) else "Permission denied"
    if why is not None:
        message = f"`{flag}` is `{place}`, which cannot be written to: {why}"
        raise WrongUse(message, hint="name a directory of yours; it is made where it is missing")
    return place
