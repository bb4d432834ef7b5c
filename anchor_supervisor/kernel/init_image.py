"""Our own process 1 as a descriptor: read once, sealed, executed by descriptor.

A sealed memfd cannot be written by anybody, so a container that reaches it through
/proc/1/exe gains nothing (what CVE-2019-5736 used).
"""

from __future__ import annotations

import errno
import fcntl
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError, KernelError

_MFD_EXEC: Final = 0x10  # Linux 6.3; before it every memfd can be executed, and this is EINVAL
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def _image() -> bytes:
    here = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        try:
            return (here / f"_init{suffix}").read_bytes()
        except FileNotFoundError:
            continue
    message = f"the compiled part `{here / '_init'}{EXTENSION_SUFFIXES[0]}` is missing"
    raise HostError(message, hint="install the package again")


def _new_memfd() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("anchor-init", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.memfd_create("anchor-init", flags)


def open_init() -> int:
    """Return a sealed descriptor of init, for `Execute(init=...)`. The caller owns it.

    One is enough for a whole fleet. Raises HostError where the package is incomplete.
    """
    image = _image()
    try:
        fd = _new_memfd()
    except OSError as error:
        raise KernelError(error.errno or 0, "memfd_create") from None
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(image)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd
