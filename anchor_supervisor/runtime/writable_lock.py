"""A writable layer is one process's at a time to build a root over: a start's, or `anchor cp`'s.

Two overlays with one upper directory are undefined (overlayfs.rst, "Sharing and copying layers").
The lock is flock(2) on the directory itself, so it ends with its holder, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel import libc
from anchor_supervisor.rootfs.overlay import UNWRITTEN
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_writable

PATIENCE: Final = 60.0  # seconds that a start waits for a copy to be done
FAREWELL: Final = 5.0  # seconds that the end of the fleet does
_LOOK: Final = 0.02


@contextmanager
def writable_locked(writable: Path, patience: float = PATIENCE) -> Iterator[int]:
    """Hold the lock and give the directory's descriptor. Blocks the thread until it is free.

    flock has no time limit of its own, and a start must end some day: a copy may be stopped.
    Raises HostError when `patience` is over; FileNotFoundError where the directory is not there.
    """
    calls: list[libc.Call] = [
        ("openat", libc.AT_FDCWD, libc.path_bytes(writable), DIRECTORY_FLAGS, 0),
        ("flock", libc.Result(0), fcntl.LOCK_EX | fcntl.LOCK_NB),
    ]
    directory, *locked = libc.system_calls(calls)
    if not locked:
        raise OSError(-directory, os.strerror(-directory), str(writable))
    try:
        if locked != [0]:
            _lock(directory, writable, patience)
        yield directory
    finally:
        os.close(directory)


def remove_when_free(writable: Path) -> None:
    """Remove the layer, after a copy that is using it; one that does not end is not waited for."""
    with ExitStack() as held, suppress(HostError, FileNotFoundError):
        held.enter_context(writable_locked(writable, FAREWELL))
    remove_writable(writable, UNWRITTEN)


def _lock(directory: int, writable: Path, patience: float) -> None:
    give_up = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                message = f"a copy or commit has been using `{writable}` for {patience:g} s"
                raise HostError(message, hint="end that command; the lock ends with it") from None
            time.sleep(_LOOK)
        else:
            return
