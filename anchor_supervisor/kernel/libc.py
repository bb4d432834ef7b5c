"""System calls that Python's `os` does not offer, by name: the one place that asks for them.

Each raises `KernelError` where it fails. Nothing here knows what a call means.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel._calls import NUMBERS, call, call_all

AT_FDCWD: Final = -100

Argument = int | bytes | bytearray | None
"""A bytearray is memory that the call writes to."""


@final
class Result(NamedTuple):
    """Stands for what the call at this place gives, among those that are made in one visit."""

    place: int


Call = tuple[str, *tuple[Argument | Result, ...]]
"""The name of a system call, and its arguments."""

_MOMENTARY: Final = frozenset({"fsmount", "fsopen", "mount_setattr", "move_mount", "open_tree"})
"""Calls of a few microseconds that wait for no disk: giving up the interpreter lock for one would
let every other thread of a burst of starts go first, for up to five milliseconds each time."""


_ENCODING: Final = sys.getfilesystemencoding()
_ERRORS: Final = sys.getfilesystemencodeerrors()

_OPENING: Final = frozenset({"memfd_create", "openat"})


def system_call(
    name: str, *arguments: Argument, words: str | None = None, subject: str | None = None
) -> int:
    """Make the system call `name`; `words` (else its name) and `subject` are for a KernelError."""
    result = call(name not in _MOMENTARY, NUMBERS[name], *arguments)
    if result < 0:
        raise KernelError(-result, words or name, subject)
    return result


def system_calls(calls: Sequence[Call]) -> list[int]:
    """Make system calls in turn until one fails, giving up the interpreter lock once for them all.

    Returns what they gave. The last is a negative errno where a call has failed; whatever the ones
    before it have opened is the caller's.
    """
    return call_all(*[(NUMBERS[name], *arguments) for name, *arguments in calls])


def perform(calls: Sequence[Call], words: str, subject: str | None = None) -> list[int]:
    """Make system calls in turn, as one piece of work: what it has opened is open at its end.

    Raises KernelError with `words` and `subject` where one fails; then nothing is.
    """
    results = system_calls(calls)
    if results[-1] >= 0:
        return results
    made = list(zip(calls, results[:-1], strict=False))
    closed = {arguments[0] for (name, *arguments), _ in made if name == "close"}
    for place, ((name, *_), descriptor) in enumerate(made):
        if name in _OPENING and Result(place) not in closed:
            os.close(descriptor)
    raise KernelError(-results[-1], words, subject)


def syncfs(descriptor: int, subject: str | None = None) -> None:
    """Have all that is in an open file's file system written to the disk. Raises KernelError."""
    system_call("syncfs", descriptor, subject=subject)


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """Encode a path for the kernel; one with a NUL inside is refused with ValueError."""
    text = path if path.__class__ is str else os.fspath(path)
    encoded = text.encode(_ENCODING, _ERRORS)
    if b"\0" in encoded:
        message = f"path `{os.fspath(path)!r}` holds a NUL"
        raise ValueError(message)
    return encoded
