"""One supervisor a fleet: a lock file in the fleet's run directory, held for the supervisor's life.

flock(2) dies with its holder, so a lock is never stale. It may outlive a killed supervisor by the
moment that its children between clone and exec need, whose descriptors are copies. The holder's
pid is written into the file for whoever is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError
from anchor_supervisor.rootfs.private import make_private

PATIENCE: Final = 5.0  # seconds for a dead supervisor's last children to execute or to fail


@final
class AlreadyRunning(HostError):  # noqa: N818 - it is what is the case
    """Another supervisor has the fleet; `pid` is its own, where it can be told."""

    def __init__(self, fleet: str, pid: int | None) -> None:
        """Name the fleet and the holder."""
        holder = "unknown" if pid is None else pid
        message = f"fleet `{fleet}` is already running (supervisor pid {holder})"
        hint = f"`anchor apply` brings a changed file to it, `anchor -p {fleet} down` stops it"
        super().__init__(message, hint=hint)
        self.pid = pid


@contextmanager
def fleet_lock(directory: Path, fleet: str) -> Iterator[None]:
    """Hold the lock of the fleet whose run directory is `directory`, making the directory.

    Raises AlreadyRunning, naming the holder, where another supervisor has it.
    """
    descriptor = _acquire(directory, fleet)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # While it is still held: whoever waits for this file will find it gone, and make another.
        with suppress(OSError):
            (directory / "lock").unlink()
            directory.rmdir()
        os.close(descriptor)


def _acquire(directory: Path, fleet: str) -> int:
    path = directory / "lock"
    deadline = time.monotonic() + PATIENCE
    while True:
        make_private(directory)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            continue  # the last holder is removing the directory: make it again
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if _has_ended(holder) and time.monotonic() < deadline:
                time.sleep(0.01)  # for its unborn children, which nothing tells of
                continue
            raise AlreadyRunning(fleet, int(holder) if holder.isdecimal() else None) from None
        if _is_at(descriptor, path):
            return descriptor
        # The last holder removed the file between our open and our flock; that one guards nothing.
        os.close(descriptor)


def _has_ended(holder: str) -> bool:
    """Whether the process is gone, or only waits to be reaped; False where it cannot be told."""
    if not holder.isdecimal():
        return False
    try:
        process = os.pidfd_open(int(holder))
    except OSError as error:
        return error.errno == errno.ESRCH
    try:
        ended = select.poll()
        ended.register(process, select.POLLIN)
        return bool(ended.poll(0))
    finally:
        os.close(process)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
