"""Removing a tree that a container has written: any depth, any names, nothing outside it.

No path is ever walked, only names in a directory that is held open; no link is followed. A
subdirectory that is not empty is moved up to the top and emptied there, so depth costs nothing:
two descriptors and no recursion, however deep a container has nested. A mount point can be neither
removed nor moved (EBUSY), so no mount is ever entered.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import KernelError

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH: Final = 4096


def remove_writable(path: Path, expected: Sequence[str] = ()) -> None:
    """Remove the directory `path` and all that is in it; one that is missing is fine.

    `expected`: as `remove_beneath`. Raises KernelError: EBUSY where something is mounted beneath,
    ENOTDIR where `path` is no directory (a symbolic link is not followed).
    """
    try:
        parent = os.open(path.parent, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return
    try:
        remove_beneath(parent, path.name, expected)
    except OSError as error:
        raise KernelError(error.errno or 0, "remove", str(path)) from error
    finally:
        os.close(parent)


def remove_beneath(parent: int, name: str | bytes, expected: Sequence[str] = ()) -> None:
    """Remove `name`, of whatever kind, from the directory held open as `parent`. Raises OSError.

    `expected` is what a directory of that name nearly always has in it and no more, in the order in
    which it can go, a directory with a slash at its end: nothing is read then. It may be wrong, but
    for one thing: whoever is hostile can reach none of the directories that its paths lead through.
    """
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
        if not expected or not _was_as_expected(parent, name, top, expected):
            empty_directory(top)
            os.rmdir(name, dir_fd=parent)
    finally:
        os.close(top)


def _was_as_expected(parent: int, name: str | bytes, top: int, expected: Sequence[str]) -> bool:
    for entry in expected:
        with suppress(OSError):  # it is not there, or more is: who looks at what is left will tell
            if entry.endswith("/"):
                os.rmdir(entry, dir_fd=top)
            else:
                os.unlink(entry, dir_fd=top)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return False
    return True


def empty_directory(top: int) -> None:
    """Remove every entry of the directory held open as `top`."""
    moved = 0
    while entries := _entries(top):
        before = moved
        for entry in entries:
            if not _removed(top, entry):
                name = os.fsencode(entry.name)
                moved = _raise_children(top, name, moved)
                os.rmdir(name, dir_fd=top)
        if moved == before and len(entries) < _BATCH:
            return  # else what was moved up on the way is still to come


def _raise_children(top: int, name: bytes, moved: int) -> int:
    """Empty the directory `name` of `top`, moving its full subdirectories next to itself."""
    directory = os.open(name, DIRECTORY_FLAGS, dir_fd=top)
    try:
        while entries := _entries(directory):
            for entry in entries:
                if not _removed(directory, entry):
                    moved = _move_up(directory, os.fsencode(entry.name), top, moved)
            if len(entries) < _BATCH:
                break
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


def _removed(directory: int, entry: os.DirEntry[str]) -> bool:
    """Remove an entry, unless it is a directory with something in it: then say so."""
    name = os.fsencode(entry.name)
    try:
        if entry.is_dir(follow_symlinks=False):
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _entries(directory: int) -> list[os.DirEntry[str]]:
    """At most _BATCH entries: a directory of millions does not have to fit in memory.

    What kind each is, the kernel tells along with the names. The position is shared with the
    descriptor, so each look starts over.
    """
    os.lseek(directory, 0, os.SEEK_SET)
    with os.scandir(directory) as entries:
        return list(islice(entries, _BATCH))
