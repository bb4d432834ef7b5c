"""What two paths of a copy mean, by docker's rules: what is copied, and under which name to where.

`SRC/.` means the content of a directory. A destination that is a directory takes the source in;
anything else is the copy's own name, in a directory that has to exist.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.images.entry import printable
from anchor_supervisor.images.node import Node
from anchor_supervisor.values import frozen

Open = Callable[[bytes, int], int]
"""Opens a path with these flags: on the machine, or beneath a container's root."""

_PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC
_MOST_LINKS: Final = 40  # MAXSYMLINKS (path_resolution(7))


@final
@frozen
class Source:
    """An opened source. `contents`: what is in the directory, and not the directory itself."""

    node: Node
    name: bytes
    contents: bool


@final
@frozen
class Destination:
    """A directory held open, and the name to use there; None: the directory itself."""

    directory: int
    name: bytes | None


def open_source(open_path: Open, path: bytes, *, follow: bool) -> Source:
    """Open what is to be copied; the caller closes the node's handle.

    A link is copied as a link, unless `follow`, or the path ends with a slash.
    """
    through = follow or path.endswith((b"/", b"/.")) or path == b"."
    flags = _PATH_FLAGS if through else _PATH_FLAGS | os.O_NOFOLLOW
    with _words("copy", path):
        node = Node.of(open_path(path, flags))
    name = posixpath.basename(posixpath.normpath(path))
    nameless = name in (b"", b".", b"..") or posixpath.basename(path) in (b".", b"..")
    return Source(node, name, contents=node.is_directory and nameless)


def open_destination(open_path: Open, path: bytes, source: Source) -> Destination:
    """Find where the copy goes; the caller closes the directory. Raises HostError where it cannot.

    The last component is resolved by us, since it need not exist and may be a link: docker
    follows one, wherever it leads inside.
    """
    directory = _open_directory(open_path, path)
    if directory is not None:
        return Destination(directory, None if source.contents else source.name)
    is_directory = source.node.is_directory
    for _ in range(_MOST_LINKS):
        if path.endswith((b"/", b"/.")) and not is_directory:
            message = f"the directory `{printable(path)}` does not exist"
            raise HostError(message, hint="make it first, or name a file")
        parent_path, name = posixpath.split(path.rstrip(b"/"))
        with _words("copy to", path):
            parent = open_path(parent_path or b".", _PATH_FLAGS | os.O_DIRECTORY)
        text = _link_text(parent, name)
        if text is None:
            if is_directory and _exists(parent, name):
                os.close(parent)
                message = f"cannot copy a directory to `{printable(path)}`, which is a file"
                raise HostError(message)
            return Destination(parent, name)
        os.close(parent)
        path = posixpath.join(parent_path, text)
    raise KernelError(errno.ELOOP, "copy to", printable(path))


def open_directory(open_path: Open, path: bytes) -> Destination:
    """Open a directory to unpack an archive into."""
    with _words("copy to", path):
        return Destination(open_path(path, _PATH_FLAGS | os.O_DIRECTORY), None)


def _open_directory(open_path: Open, path: bytes) -> int | None:
    try:
        return open_path(path, _PATH_FLAGS | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise KernelError(error.errno or 0, "copy to", printable(path)) from error
        return None


def _link_text(parent: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return None


def _exists(parent: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@final
class _words:  # noqa: N801 - reads as a statement
    """Say which path an error of the kernel is about."""

    def __init__(self, call: str, path: bytes) -> None:
        self._call, self._path = call, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise KernelError(error.errno or 0, self._call, printable(self._path)) from None
