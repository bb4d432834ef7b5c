"""The directories that named and anonymous volumes live in, and what is in them at first.

`<volume>/data` is a whole volume, or is not there: its first content is copied aside and renamed.
`<volume>` is also the lock of whoever makes it (flock(2) ends with its holder), so of two
containers that start at once one copies, and the other waits and finds the work done.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from anchor_supervisor.digests import sha256
from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc, mount
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.rootfs.strategies import merged
from anchor_supervisor.rootfs.tree_copy import copy_tree
from anchor_supervisor.values import frozen

CONTENT: Final = "data"
UNUSED: Final = "unused"
"""A file beside the content of a volume that was made by hand: its first container may fill it."""

_UNFINISHED: Final = ".data-new"
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)


@final
@frozen
class Origin:
    """What a new volume begins with: a directory of the image, as far as the image has it."""

    layers: Layers
    target: str


def volumes_dir(data: Path, fleet: str) -> Path:
    """Where a fleet's named volumes are, a directory each."""
    return data / "volumes" / fleet


def named_path(data: Path, fleet: str, name: str) -> Path:
    """Where a named volume's content lives."""
    return volumes_dir(data, fleet) / name / CONTENT


def anonymous_path(writable: Path, target: str) -> Path:
    """Where the content of an instance's own volume lives, beside what it writes elsewhere.

    A target may be longer than a file name may be, and its digest is not.
    """
    name = sha256(target.encode()).hexdigest()[:32]
    return writable / "volumes" / name / CONTENT


def make_content(
    path: Path,
    owner: tuple[int, int] = (0, 0),
    origin: Origin | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make the directory of a volume on its first use; one that has been used is left as it is.

    It begins as a copy of `origin`, with that directory's owner and mode; where the image has none,
    empty, with mode 0755, for `owner`. Ids are as the container numbers them, here as in layers:
    a volume is seen through the container's own mapping. The directories above are the
    supervisor's alone, so that nobody else on the machine reaches a set-id file in a volume
    (CVE-2021-41091). `cancelled` is asked now and then while a tree is copied. Raises KernelError,
    and as `strategies.merged` and `tree_copy.copy_tree`.
    """
    try:
        make_private(path.parent)
        with contextlib.ExitStack() as stack:
            parent = os.open(path.parent, DIRECTORY_FLAGS)
            stack.callback(os.close, parent)
            fcntl.flock(parent, fcntl.LOCK_EX)
            if _is_new(parent, path.name):
                _make_aside(parent, owner, origin, cancelled, stack)
                # A directory replaces one that is empty, at once (rename(2)).
                os.rename(_UNFINISHED, path.name, src_dir_fd=parent, dst_dir_fd=parent)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(UNUSED, dir_fd=parent)
    except KernelError:
        raise
    except OSError as error:
        raise KernelError(error.errno or 0, "make volume", str(path)) from error


def _is_new(parent: int, name: str) -> bool:
    """Whether the volume is missing, or nobody has used it and put anything into it."""
    try:
        content = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return True
    try:
        os.stat(UNUSED, dir_fd=parent, follow_symlinks=False)
        with os.scandir(content) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return False
    finally:
        os.close(content)


def _make_aside(
    parent: int,
    owner: tuple[int, int],
    origin: Origin | None,
    cancelled: Callable[[], bool],
    stack: contextlib.ExitStack,
) -> None:
    remove_beneath(parent, _UNFINISHED)
    os.mkdir(_UNFINISHED, 0o700, dir_fd=parent)
    target = os.open(_UNFINISHED, DIRECTORY_FLAGS, dir_fd=parent)
    stack.callback(os.close, target)
    source = None if origin is None else _open_origin(origin, stack)
    if source is None:
        os.fchown(target, *owner)
        os.fchmod(target, 0o755)
        return
    try:
        copy_tree(source, target, cancelled=cancelled)
        # A volume outlives the machine's next power cut, whose victims are names without content.
        libc.syncfs(target)
    except BaseException:
        remove_beneath(parent, _UNFINISHED)
        raise


def _open_origin(origin: Origin, stack: contextlib.ExitStack) -> int | None:
    """Open what the container would see at the target; links lead to places of the image alone.

    The machine's own directories are no image's content: what they hold is never copied.
    """
    if origin.layers.host:
        return None
    root = merged(origin.layers)
    stack.callback(os.close, root)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY
        directory = mount.open_beneath(root, origin.target.lstrip("/"), flags)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return None
    stack.callback(os.close, directory)
    return directory
