"""The new mount interface: detached mounts that are owned like any other descriptor.

Nothing here decides what is mounted where. Every function that returns a descriptor gives it to
the caller, close-on-exec; errors are KernelError with the errno and, where the kernel wrote one,
the file system's own words.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import Final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc

# mount_setattr(2)
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000
_ATTR_ATIME: Final = 0x70

_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_CLONE: Final = 1 | os.O_CLOEXEC  # OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_SET_FD: Final = 5
_FSCONFIG_CMD_CREATE: Final = 6
_CONTEXT: Final = libc.Result(0)
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_IN_ROOT: Final = 0x10
_CLONE_NEWNS: Final = 0x00020000
_MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

_RETRIES: Final = 128

_MOUNT_ATTRIBUTES: Final = struct.Struct("=QQQQ")
"""`struct mount_attr`: to set, to clear, propagation, user namespace (mount_setattr(2))."""

_OPEN_HOW: Final = struct.Struct("=QQQ")
"""`struct open_how`: flags, mode, resolve (openat2(2))."""

Place = str | os.PathLike[str] | int
"""A path, or a descriptor (O_PATH is enough)."""


def _at(place: Place) -> tuple[int, bytes, int]:
    """Split a place into (directory descriptor, path, AT_EMPTY_PATH or 0)."""
    if isinstance(place, int):
        return place, b"", _AT_EMPTY_PATH
    return libc.AT_FDCWD, libc.path_bytes(place), 0


def _words(place: Place) -> str:
    return f"descriptor {place}" if isinstance(place, int) else os.fspath(place)


def clone_tree(
    place: Place, *, recursive: bool = False, attributes: int = 0, idmap: int | None = None
) -> int:
    """Clone the mount at `place` (from that directory or file down) into a detached mount.

    `recursive` takes the mounts beneath it along. `attributes` are MOUNT_ATTR_* to add. `idmap` is
    the descriptor of a user namespace: ids on disk appear as they are mapped into it
    (mount_setattr(2), ID-mapped mounts); the file system must support that (else EINVAL).
    """
    directory, path, empty = _at(place)
    depth = _AT_RECURSIVE if recursive else 0
    mount = libc.system_call(
        "open_tree", directory, path, _CLONE | empty | depth, subject=_words(place)
    )
    try:
        if attributes or idmap is not None:
            set_attributes(mount, attributes, recursive=recursive, idmap=idmap)
    except BaseException:
        os.close(mount)
        raise
    return mount


def cloning(place: Place, clone: libc.Result, attributes: int = 0) -> list[libc.Call]:
    """Return the calls that clone the mount at `place`, as `clone_tree` does, to be `clone`."""
    directory, path, empty = _at(place)
    calls: list[libc.Call] = [("open_tree", directory, path, _CLONE | empty)]
    if attributes:
        wanted = _MOUNT_ATTRIBUTES.pack(attributes, 0, 0, 0)
        calls.append(("mount_setattr", clone, b"", _AT_EMPTY_PATH, wanted, len(wanted)))
    return calls


def set_attributes(
    place: Place,
    add: int = 0,
    *,
    remove: int = 0,
    recursive: bool = False,
    idmap: int | None = None,
    propagation: int = 0,
) -> None:
    """Add and remove MOUNT_ATTR_* of the mount whose root is `place`; `idmap` as in clone_tree.

    The access-time attributes are one choice of several, so naming one replaces the others.
    `propagation` is MS_PRIVATE or MS_SLAVE (mount_namespaces(7)); 0 leaves it.
    """
    directory, path, empty = _at(place)
    if (add | remove) & _ATTR_ATIME:
        remove |= _ATTR_ATIME
    if idmap is not None:
        add |= MOUNT_ATTR_IDMAP
    wanted = _MOUNT_ATTRIBUTES.pack(add, remove, propagation, idmap or 0)
    libc.system_call(
        "mount_setattr",
        directory,
        path,
        empty | (_AT_RECURSIVE if recursive else 0),
        wanted,
        len(wanted),
        subject=_words(place),
    )


def new_filesystem(
    fstype: str,
    options: Sequence[tuple[str, str | int | None]] = (),
    attributes: int = 0,
) -> int:
    """Make a file system and return its detached mount.

    An option is `(key, value)`: a string of at most 255 bytes, a descriptor (int), or None for a
    flag. `attributes` are MOUNT_ATTR_*. KernelError carries what the file system logged.
    """
    create: libc.Call = ("fsconfig", _CONTEXT, _FSCONFIG_CMD_CREATE, None, None, 0)
    results = libc.system_calls(
        [
            ("fsopen", fstype.encode(), _FSOPEN_CLOEXEC),
            *(_configure(key, value) for key, value in options),
            create,
            ("fsmount", _CONTEXT, _FSMOUNT_CLOEXEC, attributes),
            ("close", _CONTEXT),
        ]
    )
    failed = len(results) - 1
    if results[failed] >= 0:
        return results[failed - 1]
    if failed == 0:
        raise KernelError(-results[0], "fsopen", fstype)
    log = _context_log(results[0])
    os.close(results[0])
    words = f"make a new {fstype}" + (f" ({log})" if log else "")
    option = options[failed - 1] if failed <= len(options) else None
    raise KernelError(-results[failed], words, None if option is None else _option_words(*option))


def _configure(key: str, value: str | int | None) -> libc.Call:
    name = key.encode()
    if value is None:
        return "fsconfig", _CONTEXT, _FSCONFIG_SET_FLAG, name, None, 0
    if isinstance(value, int):
        return "fsconfig", _CONTEXT, _FSCONFIG_SET_FD, name, None, value
    return "fsconfig", _CONTEXT, _FSCONFIG_SET_STRING, name, os.fsencode(value), 0


def _option_words(key: str, value: str | int | None) -> str:
    return key if value is None else f"{key}={value}"


def _context_log(context: int) -> str:
    """Read what the file system wrote: one message a read, each as `e text`; ENODATA ends them."""
    lines = []
    try:
        while line := os.read(context, 8192):
            lines.append(line.decode(errors="replace").strip().partition(" ")[2])
    except OSError:
        pass
    return "; ".join(lines)


def open_beneath(root: int, path: str | os.PathLike[str], flags: int, mode: int = 0) -> int:
    """Open `path` as if the directory `root` were `/`: no link leads out, magic links are refused.

    `flags` are O_*; O_CLOEXEC is added. A rename meanwhile makes the kernel give up (EAGAIN,
    openat2(2)), so that is tried again.
    """
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    for attempt in range(_RETRIES):
        try:
            return libc.system_call(
                "openat2",
                root,
                libc.path_bytes(path),
                how,
                len(how),
                words="open",
                subject=os.fspath(path),
            )
        except KernelError as error:
            if error.errno != errno.EAGAIN or attempt == _RETRIES - 1:
                raise
    raise AssertionError


def attach(mount: int, place: Place) -> None:
    """Attach the detached `mount` at `place`, in this process's mount namespace."""
    directory, path, empty = _at(place)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (_MOVE_MOUNT_T_EMPTY_PATH if empty else 0)
    libc.system_call("move_mount", mount, b"", directory, path, flags, subject=_words(place))


def mount_on(place: str, fstype: str, options: str, attributes: int = 0) -> None:
    """Mount a new file system by mount(2), whose options may be as long as a page is (4 KiB).

    `attributes` are of the first four MOUNT_ATTR_*, which mean what the first four MS_* do.
    """
    libc.system_call(
        "mount",
        fstype.encode(),
        libc.path_bytes(place),
        fstype.encode(),
        attributes,
        os.fsencode(options),
        subject=fstype,
    )


def unmount(path: str | os.PathLike[str]) -> None:
    """Detach what is mounted at `path` (no link is followed); it goes once nobody uses it."""
    libc.system_call(
        "umount2",
        libc.path_bytes(path),
        _MNT_DETACH | _UMOUNT_NOFOLLOW,
        subject=os.fspath(path),
    )


def private_mount_namespace() -> None:
    """Give this process its own mount namespace, which hears of the host's mounts but tells none.

    Call it at the start, while there is one thread: threads begun earlier stay in the old one.
    """
    libc.system_call("unshare", _CLONE_NEWNS)
    libc.system_call("mount", b"none", b"/", None, _MS_REC | MS_SLAVE, None, subject="/")
