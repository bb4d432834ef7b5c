"""Whole trees copied: content with its holes, owners, modes, times, hard links, attributes.

The source is read through directory descriptors and no link is followed. Sockets are left out, for
one without its server is nothing; so are character devices 0:0, which are no devices but marks.

Several layers become one tree, copied from the uppermost down: what is there already stays, and
what an upper layer marks as removed (overlayfs.rst, "whiteouts and opaque directories") is passed
over in those beneath. Nothing is copied that would be replaced again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import Final, final

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import define, field, frozen

DEEPEST: Final = 1000  # levels; PATH_MAX lets nobody walk deeper than 2048 anyhow
_CHUNK: Final = 8 << 20
_NO_CLONE: Final = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE: Final = "trusted.overlay.opaque"

Content = Callable[[int, int], None]
"""How the content of one file gets into another, empty one: source, target."""


@final
@frozen
class _Level:
    """A directory being copied: both ends, the names still to do, and its path in the copy.

    `before` is what the target was like where a layer above has made it.
    """

    source: int
    target: int
    names: list[bytes]
    path: bytes
    before: os.stat_result | None


@final
@define
class _Copy:
    """One copy under way. `links` maps (device, inode) to the copy's path of a linked file.

    `hidden` are the paths of which the layers still to come show nothing.
    """

    root: int
    content: Content
    cancelled: Callable[[], bool]
    layered: bool
    levels: list[_Level] = field(factory=list)
    links: dict[tuple[int, int], bytes] = field(factory=dict)
    hidden: set[bytes] = field(factory=set)


def copy_content(source: int, target: int, size: int | None = None) -> None:
    """Copy the data between the holes (lseek(2), SEEK_DATA), and leave the holes holes.

    As many bytes as `size` says, or as there are now, whatever becomes of the source meanwhile:
    what it grows by is left out, and what it loses is zeros.
    """
    size = os.fstat(source).st_size if size is None else size
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
            end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole until the end
                raise
            break
        if end <= start or not _copy_range(source, target, start, end):
            break
        position = end
    os.ftruncate(target, size)


def copy_tree(
    source: int,
    target: int,
    *,
    content: Content = copy_content,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Copy everything in the directory `source` into the empty directory `target`.

    Both are descriptors opened for reading; `target` gets the attributes of `source` as well.
    `cancelled` is asked before each entry. Raises OSError as the kernel does (ENOSPC, EIO),
    ImageError for a tree too deep to be one, HostError where it was cancelled.
    """
    copy_layers([source], target, content=content, cancelled=cancelled)


def copy_layers(
    sources: Sequence[int],
    target: int,
    *,
    content: Content = copy_content,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Copy several layers, the uppermost first, as the one tree they are; else as `copy_tree`."""
    copy = _Copy(target, content, cancelled, layered=len(sources) > 1)
    try:
        for number, source in enumerate(sources):
            before = os.fstat(target) if number else None
            opaque = _is_opaque(copy, source)
            _enter(copy, os.dup(source), os.dup(target), b"", before)
            _copy_levels(copy)
            if opaque:
                break
    finally:
        for level in copy.levels:
            os.close(level.source)
            os.close(level.target)


def _copy_levels(copy: _Copy) -> None:
    while copy.levels:
        if copy.cancelled():
            raise HostError("the copy was cancelled")
        level = copy.levels[-1]
        if level.names:
            name = level.names.pop()
            path = level.path + b"/" + name if level.path else name
            try:
                _copy_entry(copy, level, name, path)
            except FileExistsError:  # from a layer above; what is no directory ends the merging
                copy.hidden.add(path)
        else:
            _leave(copy)


def _enter(
    copy: _Copy, source: int, target: int, path: bytes, before: os.stat_result | None
) -> None:
    """Take both descriptors over, whatever happens."""
    level = _Level(source, target, [], path, before)
    copy.levels.append(level)
    if len(copy.levels) > DEEPEST:
        message = f"the image has directories more than {DEEPEST} levels deep"
        raise ImageError(message)
    level.names.extend(os.fsencode(name) for name in os.listdir(source))


def _leave(copy: _Copy) -> None:
    """Give the finished directory its attributes: its times were touched by every child made."""
    level = copy.levels.pop()
    try:
        if level.before is None:
            _copy_attributes(level.source, level.target)
        else:
            os.utime(level.target, ns=(level.before.st_atime_ns, level.before.st_mtime_ns))
    finally:
        os.close(level.source)
        os.close(level.target)


def _copy_entry(copy: _Copy, level: _Level, name: bytes, path: bytes) -> None:
    if path in copy.hidden:
        return
    try:
        status = os.stat(name, dir_fd=level.source, follow_symlinks=False)
    except FileNotFoundError:  # an overlay lists a mark in a directory that is in one layer alone
        return
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        _copy_directory(copy, level, name, path)
        return
    if kind == stat.S_IFSOCK or (kind == stat.S_IFCHR and status.st_rdev == 0):
        copy.hidden.add(path)
        return
    key = (status.st_dev, status.st_ino)
    if status.st_nlink > 1 and key in copy.links:
        os.link(
            copy.links[key], name,
            src_dir_fd=copy.root, dst_dir_fd=level.target, follow_symlinks=False,
        )  # fmt: skip
        return
    if kind == stat.S_IFREG:
        _copy_file(copy, level, name)
    else:
        _copy_special(level, name, status)
    if status.st_nlink > 1:
        copy.links[key] = path


def _copy_directory(copy: _Copy, level: _Level, name: bytes, path: bytes) -> None:
    """Make the directory, or go into the one that a layer above has made."""
    before = None
    try:
        os.mkdir(name, 0o700, dir_fd=level.target)
    except FileExistsError:
        before = os.stat(name, dir_fd=level.target, follow_symlinks=False)
        if not stat.S_ISDIR(before.st_mode):
            return
    source = os.open(name, DIRECTORY_FLAGS, dir_fd=level.source)
    try:
        if _is_opaque(copy, source):
            copy.hidden.add(path)
        target = os.open(name, DIRECTORY_FLAGS, dir_fd=level.target)
    except BaseException:
        os.close(source)
        raise
    _enter(copy, source, target, path, before)


def _is_opaque(copy: _Copy, directory: int) -> bool:
    """Whether the layers beneath show nothing in this directory."""
    if not copy.layered:
        return False
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return False


def _copy_special(level: _Level, name: bytes, status: os.stat_result) -> None:
    """A symbolic link, a pipe or a device: what it is, its owner, its times."""
    if stat.S_ISLNK(status.st_mode):
        text = os.readlink(name, dir_fd=level.source)
        os.symlink(text, name, dir_fd=level.target)
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode), status.st_rdev, dir_fd=level.target)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=level.target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=level.target)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=level.target, follow_symlinks=False)


def _copy_file(copy: _Copy, level: _Level, name: bytes) -> None:
    """Made before it is read: a layer above may have one of that name."""
    target = os.open(name, _NEW_FILE_FLAGS, 0o600, dir_fd=level.target)
    try:
        source = os.open(name, _FILE_FLAGS, dir_fd=level.source)
        try:
            copy.content(source, target)
            _copy_attributes(source, target)
        finally:
            os.close(source)
    finally:
        os.close(target)


def _copy_range(source: int, target: int, start: int, end: int) -> bool:
    """copy_file_range(2), which shares blocks where the file system can; else through memory.

    False: the source has become shorter.
    """
    position = start
    while position < end:
        length = min(end - position, _CHUNK)
        try:
            done = os.copy_file_range(source, target, length, position, position)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            done = os.pwrite(target, os.pread(source, length, position), position)
        if done == 0:
            return False
        position += done
    return True


def _copy_attributes(source: int, target: int) -> None:
    """Owner first: chown drops set-id bits and file capabilities (chown(2))."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith(("user.", "system.posix_acl_")) or name == "security.capability":
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
