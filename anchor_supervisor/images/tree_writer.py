"""The directories of a tree that is being unpacked: walked to, made, marked, and their times kept.

Every name is walked from the root held open, one component at a time and through no link. The
directories on the way to the latest one are kept open, so that neighbours cost no walk; each gets
back, when it is left, the time it had or is to have, since every entry made in it has touched it.
Nothing is remembered about a directory that was left: memory does not grow with the archive.

What a layer removes from those beneath is marked for overlayfs (overlayfs.rst, whiteouts and
opaque directories), and hides nothing of its own layer, whatever the order it came in.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.entry import Name, printable
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import define

_OPAQUE: Final = "trusted.overlay.opaque"
# A directory of one layer is read as it is, whiteouts and all, unless overlayfs has a reason to
# look: this attribute, whatever its value (ovl_get_inode, `non-merge dir that may have whiteouts`).
_MAY_HAVE_WHITEOUTS: Final = "trusted.overlay.origin"
_MOST_IMPLIED: Final = 32 << 20  # bytes that the names of directories without an entry may take
_PART_OVERHEAD: Final = 48  # bytes of an object and of a reference to it


@final
@define
class Level:
    """A directory held open. `mtime_ns` is the time it gets when it is left."""

    name: bytes
    fd: int
    uid: int
    gid: int
    mtime_ns: int
    is_touched: bool = False
    has_whiteouts: bool = False


@final
class TreeWriter:
    """Where entries go. `implied` are directories that entries are in and that have none."""

    def __init__(self, root: int) -> None:
        """Begin in the directory held open as `root`, which stays the caller's."""
        top = os.open(b".", DIRECTORY_FLAGS, dir_fd=root)
        status = os.fstat(top)
        self._levels = [Level(b"", top, status.st_uid, status.st_gid, status.st_mtime_ns)]
        self._implied_size = 0
        self.implied: set[Name] = {()}
        self.marks = 0
        self.is_opaque = False

    def close(self) -> None:
        """Let go of everything; times that are still to be set are not."""
        for level in self._levels:
            os.close(level.fd)
        self._levels = []

    def finish(self) -> None:
        """Give the last directories their times."""
        self._leave(0)

    def enter(self, name: Name) -> Level:
        """Open the directory `name` to make something in it; valid until the next `enter`.

        What is missing on the way is made. Raises ImageError where a link or a file is in the way.
        """
        levels = self._levels
        if len(levels) > len(name) or any(
            level.name != part for level, part in zip(levels[1:], name, strict=False)
        ):
            self._leave(1 + self._shared(name))
        for depth in range(len(levels), len(name) + 1):
            levels.append(self._step(name[:depth]))
        levels[-1].is_touched = True
        return levels[-1]

    def make_directory(self, name: Name) -> Level:
        """Make the directory `name`, or take the one that is there, and enter it."""
        self.implied.discard(name)
        if not name:
            return self.enter(())
        parent = self.enter(name[:-1])
        try:
            os.mkdir(name[-1], 0o700, dir_fd=parent.fd)
        except FileExistsError:
            self._replace_by_directory(parent, name[-1])
        return self.enter(name)

    def make_room(self, parent: Level, name: Name, kind: str) -> None:
        """Remove what is at `name`: an earlier entry, or the mark of a removal."""
        child = name[-1]
        if not stat.S_ISDIR(os.stat(child, dir_fd=parent.fd, follow_symlinks=False).st_mode):
            os.unlink(child, dir_fd=parent.fd)
            return
        try:
            os.rmdir(child, dir_fd=parent.fd)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            shown = printable(b"/".join(name))
            message = f"the archive has `{shown}` as a full directory and as a {kind}"
            raise ImageError(message) from error
        self.implied.discard(name)

    def remove_beneath(self, name: Name) -> None:
        """Mark `name` as removed from the layers beneath; what is here of it stays."""
        parent, child = self.enter(name[:-1]), name[-1]
        self.marks += 1
        try:
            os.mknod(child, stat.S_IFCHR, 0, dir_fd=parent.fd)
        except FileExistsError:
            status = os.stat(child, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.setxattr(self.enter(name).fd, _OPAQUE, b"y")
            return
        if not parent.has_whiteouts:
            os.setxattr(parent.fd, _MAY_HAVE_WHITEOUTS, b"")
            parent.has_whiteouts = True

    def hide_beneath(self, name: Name) -> None:
        """Mark the directory `name` as all there is: nothing shows through from beneath."""
        self.marks += 1
        self.is_opaque = self.is_opaque or not name
        os.setxattr(self.enter(name).fd, _OPAQUE, b"y")

    def open_existing(self, name: Name) -> int:
        """Open a directory that is there, for looking; the caller closes it. Raises OSError."""
        shared = self._shared(name)
        directory = os.dup(self._levels[shared].fd)
        for part in name[shared:]:
            try:
                below = os.open(part, DIRECTORY_FLAGS, dir_fd=directory)
            finally:
                os.close(directory)
            directory = below
        return directory

    def _shared(self, name: Name) -> int:
        """How many components of `name` are open already."""
        shared = 0
        for level, part in zip(self._levels[1:], name, strict=False):
            if level.name != part:
                break
            shared += 1
        return shared

    def _leave(self, depth: int) -> None:
        """Close what is open beyond the first `depth` directories, the deepest first."""
        while len(self._levels) > depth:
            level = self._levels.pop()
            try:
                if level.is_touched:
                    os.utime(level.fd, ns=(level.mtime_ns, level.mtime_ns))
            finally:
                os.close(level.fd)

    def _step(self, name: Name) -> Level:
        parent, child = self._levels[-1], name[-1]
        try:
            fd = os.open(child, DIRECTORY_FLAGS, dir_fd=parent.fd)
        except FileNotFoundError:
            fd = self._imply(parent, name)
        except NotADirectoryError as error:
            if not is_mark(os.stat(child, dir_fd=parent.fd, follow_symlinks=False)):
                way = printable(b"/".join(name))
                message = f"the archive leads through `{way}`, which is a link or a file"
                raise ImageError(message) from error
            os.unlink(child, dir_fd=parent.fd)
            fd = self._imply(parent, name)
            os.setxattr(fd, _OPAQUE, b"y")
        status = os.fstat(fd)
        return Level(child, fd, status.st_uid, status.st_gid, status.st_mtime_ns)

    def _imply(self, parent: Level, name: Name) -> int:
        """Make a directory that has no entry so far: root's own, and open to everybody."""
        self._implied_size += sum(map(len, name)) + _PART_OVERHEAD * len(name)
        if self._implied_size > _MOST_IMPLIED:
            raise ImageError("the archive has too many directories without an entry")
        self.implied.add(name)
        os.mkdir(name[-1], 0o700, dir_fd=parent.fd)
        parent.is_touched = True
        fd = os.open(name[-1], DIRECTORY_FLAGS, dir_fd=parent.fd)
        os.fchown(fd, 0, 0)
        os.fchmod(fd, 0o755)
        return fd

    def _replace_by_directory(self, parent: Level, child: bytes) -> None:
        """Leave a directory that is there, and put one in the place of anything else.

        That one shows nothing from beneath: what was there, a removal's mark too, hid all of it.
        """
        status = os.stat(child, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return
        os.unlink(child, dir_fd=parent.fd)
        os.mkdir(child, 0o700, dir_fd=parent.fd)
        fd = os.open(child, DIRECTORY_FLAGS, dir_fd=parent.fd)
        try:
            os.setxattr(fd, _OPAQUE, b"y")
        finally:
            os.close(fd)


def is_mark(status: os.stat_result) -> bool:
    """Whether this is a whiteout, which only we make (overlayfs.rst)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
