"""Files put into a tree that others may be changing: by descriptor, one name at a time.

Nothing below the directory that was resolved at the start follows a link. A file is made under a
name of ours, filled, and renamed into place, so that nobody sees half of one, and what stood there
before is never written through. A name on which something is mounted is refused: a rename from
outside the mount namespace would silently detach it (rename(2) says EBUSY only to those inside),
and whoever mounted it could have chosen a file of the kernel's.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, final

from anchor_supervisor.errors import HostError
from anchor_supervisor.images.entry import printable
from anchor_supervisor.images.node import NODE_FLAGS, Attributes
from anchor_supervisor.kernel.creator import change_owner
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import frozen

NOBODY: Final = 65534  # who ids belong to that have no number on the other side
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_IDS: Final = stat.S_ISUID | stat.S_ISGID


@final
@frozen
class Ownership:
    """Whose the copies are: their maker's, or (`keep`) their originals' numbers.

    The container's 0 is `first` on this machine, and it has `count` ids; `inward` is the way.
    """

    keep: bool = False
    first: int = 0
    count: int | None = None
    inward: bool = False

    def ids(self, attributes: Attributes) -> tuple[int, int]:
        """Give the numbers that a copy gets. Raises HostError where the container has none such."""
        return self._one(attributes.uid), self._one(attributes.gid)

    def _one(self, number: int) -> int:
        if self.inward:
            if self.count is not None and number >= self.count:
                message = f"the container has no id {number}, only 0 to {self.count - 1}"
                raise HostError(message, hint="without `-a` its root owns what is copied in")
            return self.first + number
        inside = number - self.first
        return inside if inside >= 0 and (self.count is None or inside < self.count) else NOBODY

    def mode(self, attributes: Attributes) -> int:
        """Set-id bits are only kept with the owner they were meant for."""
        return attributes.mode if self.keep else attributes.mode & ~_SET_IDS


@final
@frozen
class Planter:
    """Makes copies with this ownership. Every `parent` is a directory held open."""

    ownership: Ownership

    def directory(self, parent: int, name: bytes) -> tuple[int, bool]:
        """Open the directory, made where missing (then True). Raises HostError where a file is."""
        made = True
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            made = False
        try:
            return os.open(name, DIRECTORY_FLAGS, dir_fd=parent), made
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            message = f"cannot put a directory where the file or link `{printable(name)}` is"
            raise HostError(message) from error

    def finish_directory(self, directory: int, attributes: Attributes, *, made: bool) -> None:
        """Set attributes once everything is in it; one that was there keeps its own, but for -a."""
        if made or self.ownership.keep:
            self._set(directory, attributes)

    def file(
        self, parent: int, name: bytes, attributes: Attributes, fill: Callable[[int], None]
    ) -> None:
        """Make or replace a file; `fill` writes its content to a descriptor."""
        with _aside(parent, name) as aside:
            file = os.open(aside, _NEW_FILE, 0o600, dir_fd=parent)
            try:
                fill(file)
                self._set(file, attributes)
            finally:
                os.close(file)

    def symlink(self, parent: int, name: bytes, attributes: Attributes, text: bytes) -> None:
        """Make or replace a symbolic link."""
        with _aside(parent, name) as aside:
            os.symlink(text, aside, dir_fd=parent)
            self._set_by_name(parent, aside, attributes)

    def fifo(self, parent: int, name: bytes, attributes: Attributes) -> None:
        """Make or replace a FIFO."""
        with _aside(parent, name) as aside:
            os.mkfifo(aside, self.ownership.mode(attributes), dir_fd=parent)
            self._set_by_name(parent, aside, attributes)

    def link(self, source: int, first: bytes, parent: int, name: bytes) -> None:
        """Make `name` another name of the file `first` in the directory `source`."""
        with _aside(parent, name) as aside:
            os.link(first, aside, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _set(self, file: int, attributes: Attributes) -> None:
        """Owner first: chown drops set-id bits (chown(2))."""
        if self.ownership.keep:
            os.fchown(file, *self.ownership.ids(attributes))
        os.fchmod(file, self.ownership.mode(attributes))
        for name, value in attributes.xattrs.items():
            with suppress(OSError):  # a file system without any
                os.setxattr(file, name, value)
        os.utime(file, ns=(attributes.mtime_ns, attributes.mtime_ns))

    def _set_by_name(self, parent: int, name: bytes, attributes: Attributes) -> None:
        if self.ownership.keep:
            handle = os.open(name, NODE_FLAGS, dir_fd=parent)
            try:
                # Whoever may write to the directory could have put a file of another's here.
                if stat.S_IFMT(os.fstat(handle).st_mode) in (stat.S_IFLNK, stat.S_IFIFO):
                    change_owner(handle, *self.ownership.ids(attributes))
            finally:
                os.close(handle)
        times = (attributes.mtime_ns, attributes.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)


@contextmanager
def _aside(parent: int, name: bytes) -> Iterator[bytes]:
    """A name to make something under; it becomes `name` when the block ends well."""
    aside = b".anchor-" + secrets.token_hex(8).encode()
    try:
        yield aside
        _refuse_mount_point(parent, name)
        os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
        # Two names of one file are left alone (rename(2)); then the name aside is still there.
        with suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=parent)
    except IsADirectoryError as error:
        _forget(parent, aside)
        message = f"cannot put a file where the directory `{printable(name)}` is"
        raise HostError(message) from error
    except BaseException:
        _forget(parent, aside)
        raise


def _forget(parent: int, name: bytes) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=parent)


def _refuse_mount_point(parent: int, name: bytes) -> None:
    try:
        handle = os.open(name, NODE_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        if _mount_id(handle) != _mount_id(parent):
            message = f"cannot replace `{printable(name)}`: something is mounted on it"
            raise HostError(message, hint="change what is mounted there, on its own side")
    finally:
        os.close(handle)


def _mount_id(handle: int) -> str:
    """Which mount a descriptor is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{handle}") as lines:  # noqa: PTH123 - not a path to keep
        return next((line for line in lines if line.startswith("mnt_id:")), "")
