"""System calls that Python's `os` does not offer, by name: the one place that asks for them.

Each raises `KernelError` where it fails. Nothing here knows what a call means.
"""

from __future__ import annotations

import os
from typing import Final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel._calls import NUMBERS, call

Argument = int | bytes | bytearray | None
"""A bytearray is memory that the call writes to."""

_MOMENTARY: Final = frozenset({"fsmount", "fsopen", "mount_setattr", "move_mount", "open_tree"})
"""Calls of a few microseconds that wait for no disk: giving up the interpreter lock for one would
let every other thread of a burst of starts go first, for up to five milliseconds each time."""


def system_call(
    name: str, *arguments: Argument, words: str | None = None, subject: str | None = None
) -> int:
    """Make the system call `name`; `words` (else its name) and `subject` are for a KernelError."""
    result = call(NUMBERS[name], name not in _MOMENTARY, *arguments)
    if result < 0:
        raise KernelError(-result, words or name, subject)
    return result


def syncfs(descriptor: int, subject: str | None = None) -> None:
    """Have all that is in an open file's file system written to the disk. Raises KernelError."""
    system_call("syncfs", descriptor, subject=subject)


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """Encode a path for the kernel; one with a NUL inside is refused with ValueError."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        message = f"path `{os.fspath(path)!r}` holds a NUL"
        raise ValueError(message)
    return encoded
