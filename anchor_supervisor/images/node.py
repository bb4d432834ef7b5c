"""One thing in a tree that others change meanwhile, held by a descriptor: what it is stays so.

A node is opened with O_PATH, which waits for nothing and has no effect, and only then looked at; a
regular file or a directory is opened for reading through that very descriptor. So no FIFO, socket
or device is ever opened, whatever takes a name's place between two looks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final, final

from anchor_supervisor.values import frozen

NODE_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@final
@frozen
class Attributes:
    """What is copied along with content. Ids as the reader numbers them."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Mapping[str, bytes]


@final
@frozen
class Node:
    """An O_PATH descriptor and what fstat(2) said of it. The caller closes it."""

    handle: int
    status: os.stat_result

    @classmethod
    def of(cls, handle: int) -> Node:
        """Look at what `handle` leads to, and take it over."""
        return cls(handle, os.fstat(handle))

    @property
    def kind(self) -> int:
        """S_IFREG, S_IFDIR and so on."""
        return stat.S_IFMT(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.kind == stat.S_IFDIR

    def open(self) -> int:
        """Open a regular file or a directory for reading. The caller closes it.

        O_NONBLOCK: a file with a lease would keep us until it is given back (fcntl(2)).
        """
        if self.is_directory:
            return os.open(".", _READ | os.O_DIRECTORY, dir_fd=self.handle)
        assert self.kind == stat.S_IFREG
        return os.open(f"/proc/self/fd/{self.handle}", _READ)

    def link_text(self) -> bytes:
        """Where a symbolic link leads (readlink(2): an empty path means the descriptor)."""
        return os.readlink(b"", dir_fd=self.handle)

    def attributes(self, opened: int | None = None) -> Attributes:
        """Its attributes; `opened` is from `open`, through which extended ones can be read."""
        return Attributes(
            stat.S_IMODE(self.status.st_mode),
            self.status.st_uid,
            self.status.st_gid,
            self.status.st_mtime_ns,
            {} if opened is None else user_xattrs(opened),
        )


def user_xattrs(opened: int) -> Mapping[str, bytes]:
    """Read the attributes in the namespace `user`, but for overlayfs's own."""
    found = {}
    try:
        names = os.listxattr(opened)
    except OSError:  # a file system without any
        return {}
    for name in names:
        if name.startswith("user.") and not name.startswith("user.overlay."):
            try:
                found[name] = os.getxattr(opened, name)
            except OSError:  # removed meanwhile
                continue
    return found


def names_in(directory: int) -> list[bytes]:
    """Name the entries, in order."""
    os.lseek(directory, 0, os.SEEK_SET)
    return sorted(os.fsencode(name) for name in os.listdir(directory))
