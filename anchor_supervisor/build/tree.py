"""What COPY and ADD read: a directory held open, whose content is not to be trusted.

Directories are walked by descriptors and no link is followed; a file is looked at before it is
opened, since to open a device is to use it, and to open a fifo is to wait.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, final

from anchor_supervisor.build.ignore import Ignore
from anchor_supervisor.build.paths import Resolver, attributes_of, shown
from anchor_supervisor.errors import BuildError
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import define, field, frozen

DEEPEST: Final = 512  # levels; more than that no unpacker takes either
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@final
@frozen
class Node:
    """Something in a tree: `path` from its root, and where a link leads."""

    path: str
    status: os.stat_result
    text: str = ""

    @property
    def mode(self) -> int:
        """The permissions."""
        return stat.S_IMODE(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a plain one."""
        return stat.S_ISREG(self.status.st_mode)


@final
@define(eq=False)
class _Level:
    """A directory being walked: `withheld` is its own node, until something in it is taken."""

    directory: int
    path: str
    names: list[str]
    withheld: Node | None = None


@final
@define(eq=False)
class Tree:
    """A tree to copy from. `root` is a descriptor that the caller closes.

    `words` say what it is ("the context"). `keeps_owners`: its owners and attributes are an
    image's, and are copied; those of a context are whoever's has checked it out.
    """

    root: int
    words: str
    keeps_owners: bool = False
    ignored: Ignore = field(factory=Ignore)
    resolver: Resolver = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with nothing seen."""
        self.resolver = Resolver(self.root)

    def find(self, path: str) -> Node | None:
        """What a path leads to, links followed within the tree; None where nothing is, or ignored.

        Raises BuildError for a path that cannot be followed.
        """
        place = self.resolver.resolve(path)
        if place.status is None or (place.path and self.hides(place.path)):
            return None
        return Node(place.path, place.status)

    def hides(self, path: str) -> bool:
        """Whether the path is left out, and nothing beneath it is taken."""
        return self.ignored.excluded(path) and not self._has_any(path)

    def _has_any(self, path: str) -> bool:
        if self.ignored.prunes(path):
            return False
        status = self.resolver.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        return any(True for node in self.walk(path) if not node.is_directory)

    def names(self, path: str) -> list[str]:
        """The names in a directory, in order; none where it is no directory."""
        try:
            directory = open_beneath(self.root, path or ".", DIRECTORY_FLAGS)
        except OSError:
            return []
        try:
            return _sorted_names(directory)
        finally:
            os.close(directory)

    def walk(self, path: str, skip: Callable[[str], bool] | None = None) -> Iterator[Node]:
        """Everything beneath the directory `path`, parents first, in the order of the names' bytes.

        An ignored directory comes only where something beneath it is not ignored. `skip` is asked
        for each path. Raises BuildError for a tree too deep.
        """
        levels: list[_Level] = []
        try:
            top = open_beneath(self.root, path or ".", DIRECTORY_FLAGS)
            levels.append(_Level(top, path, _names_backwards(top)))
            while levels:
                level = levels[-1]
                if not level.names:
                    os.close(levels.pop().directory)
                    continue
                name = level.names.pop()
                below = f"{level.path}/{name}" if level.path else name
                if skip is not None and skip(below):
                    continue
                yield from self._visit(levels, level, name, below)
        finally:
            for level in levels:
                os.close(level.directory)

    def _visit(self, levels: list[_Level], level: _Level, name: str, path: str) -> Iterator[Node]:
        """Give one entry, and go into it where it is a directory."""
        try:
            status = os.stat(name, dir_fd=level.directory, follow_symlinks=False)
        except FileNotFoundError:
            return  # removed since it was listed
        excluded = self.ignored.excluded(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        if excluded and (not is_directory or self.ignored.prunes(path)):
            return
        is_link = stat.S_ISLNK(status.st_mode)
        node = Node(path, status, os.readlink(name, dir_fd=level.directory) if is_link else "")
        if not excluded:
            for above in levels:
                if above.withheld is not None:
                    yield above.withheld
                    above.withheld = None
            yield node
        if is_directory:
            if len(levels) > DEEPEST:
                message = f"{self.words} is more than {DEEPEST} directories deep"
                raise BuildError(message)
            directory = os.open(name, DIRECTORY_FLAGS, dir_fd=level.directory)
            levels.append(_Level(directory, path, [], node if excluded else None))
            levels[-1].names = _names_backwards(directory)

    def open(self, node: Node) -> int:
        """Open a plain file for reading; the caller closes it.

        Raises BuildError where it is not the file any more that was seen.
        """
        handle = open_beneath(self.root, node.path or ".", _LOOK)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, node.status):
                message = f"`{shown(node.path)}` was changed while it was read"
                raise BuildError(message, hint="try again when nobody changes the context")
            return os.open(f"/proc/self/fd/{handle}", _READ)
        finally:
            os.close(handle)

    def attributes(self, node: Node) -> dict[str, bytes]:
        """The attributes to copy: an image's, none of a context's."""
        if not self.keeps_owners or stat.S_ISLNK(node.status.st_mode):
            return {}
        handle = open_beneath(self.root, node.path or ".", _LOOK)
        try:
            return attributes_of(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)


def _sorted_names(directory: int) -> list[str]:
    """In the order of their bytes, which no locale changes."""
    with os.scandir(directory) as entries:
        return sorted((entry.name for entry in entries), key=os.fsencode)


def _names_backwards(directory: int) -> list[str]:
    """The names to do, the next one last."""
    return _sorted_names(directory)[::-1]
