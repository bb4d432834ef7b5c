"""What a container has changed of its image: names that are new, changed or gone.

Of an overlay only its upper directory is walked (overlayfs.rst, "whiteouts and opaque
directories"); a root that is a whole copy is compared with the image name by name. The container's
side is hostile and may be changing: it is read by descriptors, and no link in it is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.images.entry import printable
from anchor_supervisor.images.node import NODE_FLAGS, Node, names_in
from anchor_supervisor.values import define, frozen

ADDED: Final = "A"
CHANGED: Final = "C"
DELETED: Final = "D"

DEEPEST: Final = 400  # levels; three descriptors and two frames each
_OPAQUE: Final = "trusted.overlay.opaque"
_CHUNK: Final = 1 << 20


@final
@frozen
class Change:
    """One line of `anchor diff`. `path` begins with a slash."""

    kind: str
    path: bytes


@final
@define
class _Comparison:
    """One comparison under way. `upper`: the container's side is an overlay's upper directory."""

    upper: bool
    first_id: int
    own: frozenset[bytes]
    own_parents: frozenset[bytes]


def changes(
    tree: int, image: int, *, upper: bool, first_id: int = 0, own: Iterable[bytes] = ()
) -> list[Change]:
    """Compare the container's directory `tree` with the image's, both held open.

    `first_id` is taken from owners on the container's side. `own` are paths where anchor may have
    made an empty file or directory to mount on; those are nobody's change. As docker has it, a
    directory with changes in it is itself changed, and nothing is said of what is in one that has
    gone. Raises HostError for a tree that is too deep.
    """
    paths = frozenset(b"/" + path.strip(b"/") for path in own)
    parents = {path[:place] for path in paths for place in range(1, len(path)) if path[place] == 47}
    comparison = _Comparison(upper, first_id, paths, frozenset(parents))
    with ExitStack() as opened:
        new = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        opened.callback(os.close, new)
        return _directory(comparison, new, image, b"", 0)


def _directory(
    comparison: _Comparison, new: int, old: int | None, path: bytes, depth: int
) -> list[Change]:
    """Compare two directories; `old` None: there was none."""
    if depth > DEEPEST:
        message = f"directories are more than {DEEPEST} levels deep at `{printable(path[:60])}`"
        raise HostError(message)
    names = names_in(new)
    found: list[Change] = []
    for name in names:
        with ExitStack() as opened:
            try:
                handle = os.open(name, NODE_FLAGS, dir_fd=new)
            except FileNotFoundError:
                continue  # removed meanwhile; the next look tells
            opened.callback(os.close, handle)
            before = _look(old, name, opened)
            found += _entry(comparison, Node.of(handle), before, path + b"/" + name, depth)
    if old is not None and (not comparison.upper or _is_opaque(new)):
        gone = sorted(set(_names_of(old)) - set(names))
        found += [Change(DELETED, path + b"/" + name) for name in gone]
        found.sort(key=lambda change: change.path.split(b"/"))
    return found


def _entry(
    comparison: _Comparison, node: Node, before: Node | None, path: bytes, depth: int
) -> list[Change]:
    if comparison.upper and node.kind == stat.S_IFCHR and node.status.st_rdev == 0:
        return [] if before is None else [Change(DELETED, path)]
    below: list[Change] = []
    if node.is_directory:
        with ExitStack() as opened, suppress(FileNotFoundError):
            new = node.open()
            opened.callback(os.close, new)
            old = before.handle if before is not None and before.is_directory else None
            below = _directory(comparison, new, old, path, depth + 1)
    if before is None:
        if not below and _is_own(comparison, node, path):
            return []
        return [Change(ADDED, path), *below]
    if below or _differs(comparison, node, before):
        return [Change(CHANGED, path), *below]
    return []


def _is_own(comparison: _Comparison, node: Node, path: bytes) -> bool:
    """Whether it is an empty place to mount on, or the way to one."""
    if node.is_directory:
        return path in comparison.own or path in comparison.own_parents
    return path in comparison.own and node.kind == stat.S_IFREG and node.status.st_size == 0


def _differs(comparison: _Comparison, node: Node, before: Node) -> bool:
    """Compare what people see; of directories not the time, which every name made in them sets."""
    now, then = node.status, before.status
    owners = (then.st_uid + comparison.first_id, then.st_gid + comparison.first_id)
    if now.st_mode != then.st_mode or (now.st_uid, now.st_gid) != owners:
        return True
    if node.is_directory:
        return False
    if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
        return True
    if node.kind == stat.S_IFLNK:
        return node.link_text() != before.link_text()
    # In an upper directory it has been opened for writing; size and time can be put back.
    return comparison.upper and node.kind == stat.S_IFREG and not _same_content(node, before)


def _same_content(node: Node, before: Node) -> bool:
    with ExitStack() as opened:
        files = (node.open(), before.open())
        for file in files:
            opened.callback(os.close, file)
        while True:
            now, then = (os.read(file, _CHUNK) for file in files)
            if now != then:
                return False
            if not now:
                return True


def _look(directory: int | None, name: bytes, opened: ExitStack) -> Node | None:
    if directory is None:
        return None
    try:
        handle = os.open(name, NODE_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(error.errno or 0, "look at", printable(name)) from error
    opened.callback(os.close, handle)
    return Node.of(handle)


def _names_of(directory: int) -> list[bytes]:
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return names_in(opened)
    finally:
        os.close(opened)


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return False
