"""Removing a tree that a container has written: any depth, any names, nothing outside it.

No path is ever walked, only names in a directory that is held open; no link is followed. A
subdirectory that is not empty is moved up to the top and emptied there, so depth costs nothing:
two descriptors and no recursion, however deep a container has nested. A mount point can be neither
removed nor moved (EBUSY), so no mount is ever entered.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import KernelError

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH: Final = 4096


def remove_writable(path: Path) -> None:
    """Remove the directory `path` and all that is in it; one that is missing is fine.

    Raises KernelError: EBUSY where something is mounted beneath, ENOTDIR where `path` is no
    directory (a symbolic link is not followed).
    """
    try:
        parent = os.open(path.parent, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return
    try:
        remove_beneath(parent, path.name)
    except OSError as error:
        raise KernelError(error.errno or 0, "remove", str(path)) from error
    finally:
        os.close(parent)


def remove_beneath(parent: int, name: str | bytes) -> None:
    """Remove `name`, of whatever kind, from the directory held open as `parent`. Raises OSError."""
    try:
        top = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        # Linux gives ENOTDIR for a plain file and for a link, even with O_NOFOLLOW (open(2)).
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=parent)
        return
    try:
        empty_directory(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def empty_directory(top: int) -> None:
    """Remove every entry of the directory held open as `top`.

    What is moved up on the way, the next look finds.
    """
    moved = 0
    while names := _names(top):
        for name in names:
            try:
                _remove_entry(top, name)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                moved = _raise_children(top, name, moved)
                os.rmdir(name, dir_fd=top)


def _raise_children(top: int, name: bytes, moved: int) -> int:
    """Empty the directory `name` of `top`, moving its full subdirectories next to itself."""
    directory = os.open(name, DIRECTORY_FLAGS, dir_fd=top)
    try:
        while names := _names(directory):
            for child in names:
                try:
                    _remove_entry(directory, child)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    moved = _move_up(directory, child, top, moved)
    finally:
        os.close(directory)
    return moved


def _move_up(directory: int, child: bytes, top: int, moved: int) -> int:
    """Rename to the next free number; a container may have made directories of that name too."""
    while True:
        moved += 1
        try:
            # A directory replaces only an empty directory (rename(2)), which is no loss here.
            os.rename(child, b"%d" % moved, src_dir_fd=directory, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return moved


def _remove_entry(directory: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=directory)


def _names(directory: int) -> list[bytes]:
    """At most _BATCH names: a directory of millions does not have to fit in memory.

    scandir on a descriptor yields str; the bytes are what the kernel knows. The position is shared
    with the descriptor, so each look starts over.
    """
    os.lseek(directory, 0, os.SEEK_SET)
    with os.scandir(directory) as entries:
        return [os.fsencode(entry.name) for entry, _ in zip(entries, range(_BATCH), strict=False)]
