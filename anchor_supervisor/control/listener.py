"""The control socket itself: made so that nobody else can reach it, at any moment."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from anchor_supervisor.control.address import SocketAddress
from anchor_supervisor.errors import HostError

BACKLOG: Final = 64
_UCRED: Final = struct.Struct("iII")  # struct ucred, unix(7)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, mode 0600 in a directory of mode 0700; remove the socket at the end.

    The caller holds the fleet's lock, so a socket that is there already is a dead supervisor's.
    Raises HostError where the directory belongs to somebody else.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_private(path.parent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        # The mode of a bound socket is that of its own inode before bind, so no umask (which
        # is the whole process's) is touched, and there is no moment of wider rights.
        os.fchmod(listener.fileno(), 0o600)
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with SocketAddress(str(fresh)) as address:
            listener.bind(address)
        listener.listen(BACKLOG)
        inode = fresh.stat().st_ino
        fresh.replace(path)
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def _make_private(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.geteuid():
        message = f"`{directory}` belongs to user {status.st_uid}, not to {os.geteuid()}"
        raise HostError(message, hint="set ANCHOR_RUN_DIR to a directory of your own")
    if stat.S_IMODE(status.st_mode) & 0o077:
        directory.chmod(0o700)


class _Connected(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def peer_uid(connection: _Connected) -> int:
    """Say whose process connected (SO_PEERCRED, unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])
