"""Paths inside a tree that is not to be trusted, resolved as if the tree were all there is.

A path is walked one component at a time; a link is followed by its text, which begins again at
the tree's root where it is absolute, so nothing leads out. The result has no link in it. What is
done with it is done beneath the root again: a tree that changes meanwhile gains nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, final

from anchor_supervisor.errors import BuildError
from anchor_supervisor.images.entry import printable
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.values import define, field, frozen

MOST_LINKS: Final = 40  # MAXSYMLINKS (path_resolution(7))
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@final
@frozen
class Place:
    """Where a path leads: `path` without links and leading slash, "" the root itself.

    `status` is what is there; None: nothing yet.
    """

    path: str
    status: os.stat_result | None

    @property
    def is_directory(self) -> bool:
        """Whether a directory is there."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)


@final
@define(eq=False)
class Resolver:
    """Resolves paths of one tree; `root` None is a tree with nothing in it.

    What has been seen is remembered, so the tree should stand still.
    """

    root: int | None
    _seen: dict[str, tuple[os.stat_result, str] | None] = field(factory=dict, init=False)

    def resolve(self, path: str, *, follow: bool = True) -> Place:
        """Follow `path` to its end; `follow` False leaves a link alone that is the last of it.

        Missing components stay as they are. Raises BuildError for a path through a file, for
        links without end, and for what is no path.
        """
        if "\0" in path:
            message = f"`{shown(path)}` holds a NUL byte, and is no path"
            raise BuildError(message)
        ahead = list(reversed(path.split("/")))
        done: list[str] = []
        links = 0
        while ahead:
            component = ahead.pop()
            if component in ("", "."):
                continue
            if component == "..":
                del done[-1:]
                continue
            done.append(component)
            found = self._look("/".join(done))
            if found is None:
                continue
            status, text = found
            is_last = not any(part not in ("", ".") for part in ahead)
            if stat.S_ISLNK(status.st_mode):
                if is_last and not follow:
                    continue
                links += 1
                if links > MOST_LINKS:
                    message = f"`{shown(path)}` leads through more than {MOST_LINKS} links"
                    raise BuildError(message)
                del done[-1:]
                if text.startswith("/"):
                    done.clear()
                ahead += reversed(text.split("/"))
            elif not is_last and not stat.S_ISDIR(status.st_mode):
                way = shown("/".join(done))
                message = f"`{shown(path)}` leads through `{way}`, which is not a directory"
                raise BuildError(message)
        return Place("/".join(done), self.status("/".join(done)))

    def status(self, path: str) -> os.stat_result | None:
        """What is at a path that has no links in it; its last component may be one."""
        found = self._look(path)
        return None if found is None else found[0]

    def attributes(self, path: str) -> dict[str, bytes]:
        """The attributes of a directory or file that an image may have."""
        assert self.root is not None
        handle = open_beneath(self.root, path or ".", _LOOK)
        try:
            return attributes_of(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)

    def _look(self, path: str) -> tuple[os.stat_result, str] | None:
        if path not in self._seen:
            self._seen[path] = self._look_now(path)
        return self._seen[path]

    def _look_now(self, path: str) -> tuple[os.stat_result, str] | None:
        if self.root is None:
            return None
        try:
            handle = open_beneath(self.root, path or ".", _LOOK)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        try:
            status = os.fstat(handle)
            # An empty name means the link that the descriptor is (readlinkat(2)).
            text = os.readlink("", dir_fd=handle) if stat.S_ISLNK(status.st_mode) else ""
        finally:
            os.close(handle)
        return status, text


def attributes_of(path: str) -> dict[str, bytes]:
    """What an image may say of a file: user.* and file capabilities."""
    found = {}
    for name in os.listxattr(path):
        ours = name.startswith("user.") and not name.startswith("user.overlay.")
        if ours or name == "security.capability":
            found[name] = os.getxattr(path, name)
    return found


def shown(path: str) -> str:
    """A path that somebody else chose, for a message."""
    return printable(os.fsencode(path))
