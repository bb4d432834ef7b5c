"""The C library by ctypes: the one place that calls it, for what Python's `os` does not offer.

Each call keeps its errno and raises `KernelError`; ctypes gives up the interpreter lock meanwhile.
The system call numbers are the same on x86_64 and aarch64 (they are above 423, where the tables
were joined). Nothing here knows what a call means.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from anchor_supervisor.errors import KernelError

OPEN_TREE: Final = 428
MOVE_MOUNT: Final = 429
FSOPEN: Final = 430
FSCONFIG: Final = 431
FSMOUNT: Final = 432
OPENAT2: Final = 437
MOUNT_SETATTR: Final = 442

_library = ctypes.CDLL(None, use_errno=True)

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None
"""An array is memory that the call writes to."""


def _native(value: Argument) -> object:
    """Widen integers to a register; bytes go by address."""
    if isinstance(value, int):
        return ctypes.c_long(value)
    return value


def _checked(result: int, call: str, subject: str | None) -> int:
    if result < 0:
        raise KernelError(ctypes.get_errno(), call, subject)
    return result


def system_call(number: int, call: str, *arguments: Argument, subject: str | None = None) -> int:
    """Make the system call `number`; `call` and `subject` are the words for a KernelError."""
    function = _library.syscall
    result = function(ctypes.c_long(number), *map(_native, arguments))
    return _checked(int(result), call, subject)


def library_call(call: str, *arguments: Argument, subject: str | None = None) -> int:
    """Call the C library's function of that name; a KernelError names it and `subject`."""
    function = getattr(_library, call)
    return _checked(int(function(*map(_native, arguments))), call, subject)


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """Encode a path for the kernel; one with a NUL inside is refused with ValueError."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        message = f"path `{os.fspath(path)!r}` holds a NUL"
        raise ValueError(message)
    return encoded
