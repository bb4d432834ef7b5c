"""A whole tree copied: content with its holes, owners, modes, times, hard links, attributes.

The source is read through directory descriptors and no link is followed. Sockets and device nodes
are left out: a socket without its server is nothing, and a container's devices are its /dev.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, final

from attrs import define, frozen

from anchor_supervisor.errors import ImageError
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS

DEEPEST: Final = 1000  # levels; PATH_MAX lets nobody walk deeper than 2048 anyhow
_CHUNK: Final = 8 << 20
_NO_CLONE: Final = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@final
@frozen
class _Level:
    """A directory being copied: both ends, the names still to do, and its path in the copy."""

    source: int
    target: int
    names: list[bytes]
    path: bytes


@final
@define
class _Copy:
    """One copy under way. `links` maps (device, inode) to the copy's path of a linked file."""

    root: int
    levels: list[_Level]
    links: dict[tuple[int, int], bytes]


def copy_tree(source: int, target: int) -> None:
    """Copy everything in the directory `source` into the empty directory `target`.

    Both are descriptors opened for reading; `target` gets the attributes of `source` as well.
    Raises OSError as the kernel does (ENOSPC, EIO), and ImageError for a tree too deep to be one.
    """
    copy = _Copy(target, [], {})
    try:
        _enter(copy, os.dup(source), os.dup(target), b"")
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


def _enter(copy: _Copy, source: int, target: int, path: bytes) -> None:
    """Take both descriptors over, whatever happens."""
    level = _Level(source, target, [], path)
    copy.levels.append(level)
    if len(copy.levels) > DEEPEST:
        message = f"the image has directories more than {DEEPEST} levels deep"
        raise ImageError(message)
    level.names.extend(os.fsencode(name) for name in os.listdir(source))


def _leave(copy: _Copy) -> None:
    """Give the finished directory its attributes: its times were touched by every child made."""
    level = copy.levels.pop()
    try:
        _copy_attributes(level.source, level.target)
    finally:
        os.close(level.source)
        os.close(level.target)


def _copy_entry(copy: _Copy, level: _Level, name: bytes) -> None:
    status = os.stat(name, dir_fd=level.source, follow_symlinks=False)
    path = level.path + b"/" + name if level.path else name
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        os.mkdir(name, 0o700, dir_fd=level.target)
        source = os.open(name, DIRECTORY_FLAGS, dir_fd=level.source)
        _enter(copy, source, os.open(name, DIRECTORY_FLAGS, dir_fd=level.target), path)
        return
    if status.st_nlink > 1:
        first = copy.links.setdefault((status.st_dev, status.st_ino), path)
        if first is not path:
            _link(copy, first, level.target, name)
            return
    if kind == stat.S_IFREG:
        _copy_file(level, name)
    elif kind == stat.S_IFLNK:
        text = os.readlink(name, dir_fd=level.source)
        os.symlink(text, name, dir_fd=level.target)
        _copy_owner_and_times(status, level.target, name)
    elif kind == stat.S_IFIFO:
        os.mkfifo(name, dir_fd=level.target)
        _copy_owner_and_times(status, level.target, name)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=level.target)


def _link(copy: _Copy, first: bytes, target: int, name: bytes) -> None:
    """Link to the first copy; a linked socket or device was left out, and so is its other name."""
    try:
        os.link(first, name, src_dir_fd=copy.root, dst_dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return


def _copy_file(level: _Level, name: bytes) -> None:
    source = os.open(name, _FILE_FLAGS, dir_fd=level.source)
    try:
        target = os.open(name, _NEW_FILE_FLAGS, 0o600, dir_fd=level.target)
        try:
            _copy_content(source, target)
            _copy_attributes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int) -> None:
    """Copy the data between the holes (lseek(2), SEEK_DATA), and leave the holes holes."""
    size = os.fstat(source).st_size
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole until the end
                raise
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, end)
        position = end
    os.ftruncate(target, size)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    """copy_file_range(2), which shares blocks where the file system can; else through memory."""
    position = start
    while position < end:
        length = min(end - position, _CHUNK)
        try:
            done = os.copy_file_range(source, target, length, position, position)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            done = os.pwrite(target, os.pread(source, length, position), position)
        if done == 0:  # the source became shorter while it was read
            return
        position += done


def _copy_attributes(source: int, target: int) -> None:
    """Owner first: chown drops set-id bits and file capabilities (chown(2))."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith(("user.", "system.posix_acl_")) or name == "security.capability":
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_owner_and_times(status: os.stat_result, directory: int, name: bytes) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
