"""A tree copied from one place to another, where at least one side is hostile and moves meanwhile.

Both sides are walked by descriptors. What cannot be copied (a socket, a device) is said and left
out; what vanishes while it is copied was not there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.errors import AnchorError, HostError, KernelError
from anchor_supervisor.images.entry import printable
from anchor_supervisor.images.node import NODE_FLAGS, Attributes, Node, names_in
from anchor_supervisor.images.planting import Planter
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.rootfs.tree_copy import copy_content
from anchor_supervisor.values import define, field, frozen

DEEPEST: Final = 400  # levels; two descriptors each, of the 1024 that a process usually has
_NO_LINK: Final = (errno.ENOENT, errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTDIR)

Complain = Callable[[str], None]


@final
@frozen
class _Level:
    """A directory being copied. `path` is the copy's, beneath the top; the last name is next."""

    source: int
    target: int
    path: bytes
    names: list[bytes]
    attributes: Attributes
    made: bool


@final
@define
class _Transfer:
    """One copy under way. `links` maps (device, inode) to the path of the first copy."""

    planter: Planter
    complain: Complain
    top: int
    apart: frozenset[int]
    levels: list[_Level] = field(factory=list)
    links: dict[tuple[int, int], bytes] = field(factory=dict)


def transfer(
    node: Node,
    parent: int,
    name: bytes | None,
    planter: Planter,
    complain: Complain,
    *,
    apart: frozenset[int] = frozenset(),
) -> None:
    """Copy `node` to the name `name` in the directory `parent`; None: its content into `parent`.

    Directories on the devices `apart` (st_dev) stay empty, unless the copy begins on that device.
    Raises HostError and KernelError that name the path.
    """
    copy = _Transfer(planter, complain, parent, apart - {node.status.st_dev})
    path = b"" if name is None else name
    try:
        with _named(path):
            if name is None:
                _enter(copy, node, os.open(".", DIRECTORY_FLAGS, dir_fd=parent), b"", made=False)
            elif not node.is_directory:
                _refuse_kind(node, path)
                _copy_leaf(copy, node, parent, name, path)
            else:
                _enter_named(copy, node, parent, name, path)
        while copy.levels:
            level = copy.levels[-1]
            if level.names:
                _copy_entry(copy, level, level.names.pop())
            else:
                _leave(copy)
    finally:
        for level in copy.levels:
            os.close(level.source)
            os.close(level.target)


@final
class _named:  # noqa: N801 - reads as a statement
    """Give an error of the kernel the path it is about."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, AnchorError):
            words = printable(self._path) or "."
            raise KernelError(error.errno or 0, "copy", words) from error


def _enter_named(copy: _Transfer, node: Node, parent: int, name: bytes, path: bytes) -> None:
    target, made = copy.planter.directory(parent, name)
    _enter(copy, node, target, path, made=made)


def _enter(copy: _Transfer, node: Node, target: int, path: bytes, *, made: bool) -> None:
    """Take `target` over, whatever happens."""
    try:
        _refuse_depth(copy, path)
        source = node.open()
    except BaseException:
        os.close(target)
        raise
    attributes = node.attributes(source)
    names = [] if node.status.st_dev in copy.apart else names_in(source)[::-1]
    copy.levels.append(_Level(source, target, path, names, attributes, made))


def _refuse_depth(copy: _Transfer, path: bytes) -> None:
    if len(copy.levels) >= DEEPEST:
        message = f"directories are more than {DEEPEST} levels deep at `{printable(path)}`"
        raise HostError(message)


def _leave(copy: _Transfer) -> None:
    level = copy.levels.pop()
    try:
        if level.path:
            with _named(level.path):
                copy.planter.finish_directory(level.target, level.attributes, made=level.made)
    finally:
        os.close(level.source)
        os.close(level.target)


def _copy_entry(copy: _Transfer, level: _Level, name: bytes) -> None:
    path = level.path + b"/" + name if level.path else name
    try:
        handle = os.open(name, NODE_FLAGS, dir_fd=level.source)
    except FileNotFoundError:
        return
    try:
        with _named(path):
            node = Node.of(handle)
            if node.is_directory:
                _enter_named(copy, node, level.target, name, path)
            else:
                _copy_leaf(copy, node, level.target, name, path)
    finally:
        os.close(handle)


def _copy_leaf(copy: _Transfer, node: Node, parent: int, name: bytes, path: bytes) -> None:
    if _linked(copy, node, parent, name, path):
        return
    match node.kind:
        case stat.S_IFREG:
            source = node.open()
            try:
                size = node.status.st_size
                copy.planter.file(
                    parent,
                    name,
                    node.attributes(source),
                    lambda target: copy_content(source, target, size),
                )
            finally:
                os.close(source)
        case stat.S_IFLNK:
            copy.planter.symlink(parent, name, node.attributes(), node.link_text())
        case stat.S_IFIFO:
            copy.planter.fifo(parent, name, node.attributes())
        case _:
            copy.complain(f"left out `{printable(path)}`: {kind_words(node.kind)} is not copied")


def _refuse_kind(node: Node, path: bytes) -> None:
    """What was named itself is not left out in silence."""
    if node.kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO):
        message = f"cannot copy `{printable(path)}`: {kind_words(node.kind)} is not copied"
        raise HostError(message)


def kind_words(kind: int) -> str:
    """Say what it is that is neither file, directory, link nor FIFO."""
    return "a socket" if kind == stat.S_IFSOCK else "a device"


def _linked(copy: _Transfer, node: Node, parent: int, name: bytes, path: bytes) -> bool:
    """Make another name of a file that was copied already; False: it is still to be copied."""
    if node.status.st_nlink < 2:
        return False
    key = (node.status.st_dev, node.status.st_ino)
    first = copy.links.setdefault(key, path)
    if first is path:
        return False
    folder, _, last = first.rpartition(b"/")
    try:
        source = mount.open_beneath(copy.top, os.fsdecode(folder or b"."), os.O_PATH)
        try:
            copy.planter.link(source, last, parent, name)
        finally:
            os.close(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        copy.links[key] = path
        return False
    return True
