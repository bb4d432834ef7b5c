"""A directory tree as a tar archive: the reverse of unpacking, the same bytes for the same tree.

The tree is hostile and may be changing: it is walked through directory descriptors, no link is
followed, and nothing is opened for reading before it is known to be a plain file or a directory,
since to open a device is to use it. What vanishes on the way is left out; a file is as long as it
was when its header was written. Sockets are left out (a socket without its server is nothing), as
is whatever is mounted inside: the place of such a mount stays as an empty directory.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import AnchorError, ImageError, KernelError
from anchor_supervisor.images import headers
from anchor_supervisor.images.entry import DEEPEST, LONGEST_NAME, OPAQUE, WHITEOUT, printable
from anchor_supervisor.images.headers import Header
from anchor_supervisor.values import define, evolve, frozen

NOBODY: Final = 65534  # what an id without a mapping looks like (user_namespaces(7))
ID_COUNT: Final = 65536  # ids of a container in a user namespace

_CHUNK: Final = 1 << 20
_PATH_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERLAY: Final = "trusted.overlay."
_FOREIGN: Final = ("redirect", "metacopy")  # the rest of such an entry is in another layer
_GONE: Final = (FileNotFoundError, NotADirectoryError)
_KINDS: Final = {
    stat.S_IFREG: headers.FILE,
    stat.S_IFDIR: headers.DIRECTORY,
    stat.S_IFLNK: headers.SYMLINK,
    stat.S_IFCHR: headers.CHARACTER_DEVICE,
    stat.S_IFBLK: headers.BLOCK_DEVICE,
    stat.S_IFIFO: headers.FIFO,
}

Sink = Callable[[bytes], object]


@final
@frozen
class _Level:
    """A directory under way: held open, its name in the archive, and the names still to do."""

    directory: int
    name: bytes
    names: list[bytes]
    device: int


@final
@define
class _Packing:
    """One archive under way. `links` maps (device, inode) to the first name of a linked file."""

    sink: Sink
    first_id: int
    changes: bool
    levels: list[_Level]
    links: dict[tuple[int, int], bytes]
    apart: frozenset[int] | None


def pack_tree(
    source: int,
    sink: Sink,
    *,
    first_id: int = 0,
    changes: bool = False,
    prefix: bytes = b"",
    apart: frozenset[int] | None = None,
) -> None:
    """Write the directory held open as `source` to `sink`, as an archive with names below `prefix`.

    Owners lose `first_id`; where that leaves the container's range they are nobody's, as the
    container itself sees them. With `changes` the tree is an overlay's upper layer, whose marks
    become the archive's: `.wh.NAME` for what was removed, `.wh..wh..opq` for a directory that
    hides what is beneath. `apart` is for an archive that is no layer: any name may be in it, and
    what is mounted inside is too, but for file systems on these devices (st_dev). Raises
    ImageError for a tree that no archive of a layer can hold.
    """
    packing = _Packing(sink, first_id, changes, [], {}, apart)
    try:
        # Opened anew, since the place that listdir() reads from is the descriptor's.
        top = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
        status = os.fstat(top)
        _enter(packing, top, prefix.strip(b"/"), status)
        while packing.levels:
            level = packing.levels[-1]
            if level.names:
                _pack_entry(packing, level, level.names.pop())
            else:
                os.close(packing.levels.pop().directory)
    except AnchorError:
        raise
    except OSError as error:
        where = packing.levels[-1].name if packing.levels else prefix
        raise KernelError(error.errno or 0, "read", printable(where or b".")) from error
    finally:
        for level in packing.levels:
            os.close(level.directory)
    sink(headers.END)


def _pack_entry(packing: _Packing, level: _Level, child: bytes) -> None:
    name = level.name + b"/" + child if level.name else child
    try:
        fd = os.open(child, _PATH_FLAGS, dir_fd=level.directory)
    except _GONE:
        return
    try:
        status = os.fstat(fd)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if kind == headers.CHARACTER_DEVICE and status.st_rdev == 0:
            if packing.changes:
                _pack_whiteout(packing, level, child)
            return
        if packing.apart is None:
            _check_name(name, child)
        if kind == headers.DIRECTORY:
            _pack_directory(packing, level, fd, name, status)
        else:
            _pack_other(packing, fd, name, kind, status)
    finally:
        os.close(fd)


def _check_name(name: bytes, child: bytes) -> None:
    if child.startswith(WHITEOUT):
        message = (
            f"`{printable(name)}` cannot be in an image: names with `.wh.` mean removals there"
        )
        raise ImageError(message, hint="rename or remove it")
    if len(name) > LONGEST_NAME:
        message = f"`{printable(name[:60])}...` is too long a name for an image"
        raise ImageError(message)


def _pack_whiteout(packing: _Packing, level: _Level, child: bytes) -> None:
    name = WHITEOUT + child
    name = level.name + b"/" + name if level.name else name
    packing.sink(headers.encoded(Header(name, headers.FILE)))


def _pack_directory(
    packing: _Packing, level: _Level, fd: int, name: bytes, status: os.stat_result
) -> None:
    directory = _reopened(fd, os.O_DIRECTORY)
    if _is_apart(packing, level, directory, status):
        os.close(directory)
        packing.sink(headers.encoded(_header(packing, name + b"/", headers.DIRECTORY, status)))
        return
    _enter(packing, directory, name, status)


def _is_apart(packing: _Packing, level: _Level, directory: int, status: os.stat_result) -> bool:
    if status.st_dev == level.device:
        return False
    if packing.apart is not None:
        return status.st_dev in packing.apart
    return _mount_of(directory) != _mount_of(level.directory)


def _enter(packing: _Packing, directory: int, name: bytes, status: os.stat_result) -> None:
    """Take the descriptor over, whatever happens, and write the directory's own entries."""
    level = _Level(directory, name, [], status.st_dev)
    packing.levels.append(level)
    if len(packing.levels) > DEEPEST + 1:
        message = f"`{printable(name[:60])}...` is more than {DEEPEST} directories deep"
        raise ImageError(message)
    header = _header(packing, name + b"/" if name else b"./", headers.DIRECTORY, status)
    xattrs = _attributes(packing, directory, name)
    packing.sink(headers.encoded(evolve(header, xattrs=xattrs)))
    if packing.changes and _is_opaque(directory):
        marker = name + b"/" + OPAQUE if name else OPAQUE
        packing.sink(headers.encoded(Header(marker, headers.FILE)))
    names = sorted(map(os.fsencode, os.listdir(directory)), reverse=True)
    level.names.extend(names)


def _pack_other(
    packing: _Packing, fd: int, name: bytes, kind: bytes, status: os.stat_result
) -> None:
    header = _header(packing, name, kind, status)
    if status.st_nlink > 1:
        first = packing.links.setdefault((status.st_dev, status.st_ino), name)
        if first is not name:
            packing.sink(headers.encoded(evolve(header, kind=headers.HARD_LINK, link=first)))
            return
    if kind == headers.FILE:
        _pack_file(packing, fd, header)
    elif kind == headers.SYMLINK:
        # An empty name means the link that the descriptor is (readlinkat(2)).
        text = os.readlink(b"", dir_fd=fd)
        packing.sink(headers.encoded(evolve(header, link=text)))
    else:
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        is_device = kind != headers.FIFO
        packing.sink(headers.encoded(evolve(header, device=device if is_device else (0, 0))))


def _pack_file(packing: _Packing, fd: int, header: Header) -> None:
    """Write a file as long as it is now: whatever it grows by is cut, what is missing is zeros."""
    file = _reopened(fd, os.O_NONBLOCK | os.O_NOCTTY)
    try:
        missing = os.fstat(file).st_size
        xattrs = _attributes(packing, file, header.name)
        packing.sink(headers.encoded(evolve(header, size=missing, xattrs=xattrs)))
        fill = headers.padding(missing)
        while missing:
            piece = os.read(file, min(missing, _CHUNK)) or bytes(min(missing, _CHUNK))
            packing.sink(piece)
            missing -= len(piece)
        if fill:
            packing.sink(fill)
    finally:
        os.close(file)


def _header(packing: _Packing, name: bytes, kind: bytes, status: os.stat_result) -> Header:
    return Header(
        name,
        kind,
        stat.S_IMODE(status.st_mode),
        _inside(packing, status.st_uid),
        _inside(packing, status.st_gid),
        mtime_ns=status.st_mtime_ns,
    )


def _inside(packing: _Packing, number: int) -> int:
    """Return an owner as the container knows it."""
    if not packing.first_id:
        return number
    inside = number - packing.first_id
    return inside if 0 <= inside < ID_COUNT else NOBODY


def _attributes(packing: _Packing, fd: int, name: bytes) -> dict[str, bytes]:
    """Return what an image may say: user.* and file capabilities."""
    found: dict[str, bytes] = {}
    for key in os.listxattr(fd):
        if packing.changes and key.removeprefix(_OVERLAY) in _FOREIGN:
            message = f"`{printable(name)}` is only partly in the changes (`{key}`)"
            raise ImageError(message, hint="mount with redirect_dir=off,metacopy=off")
        is_ours = key.startswith("user.") and not key.startswith("user.overlay.")
        if not is_ours and key != "security.capability":
            continue
        if "=" in key:  # which ends the name in a pax record, so no archive can say it
            continue
        with contextlib.suppress(OSError):  # removed, or replaced by a longer one, since listed
            value = os.getxattr(fd, key)
            if is_ours:
                found[key] = value
            elif capability := _capability(packing, value):
                found[key] = capability
    return found


def _capability(packing: _Packing, value: bytes) -> bytes | None:
    """Return file capabilities as the container's own root would set them.

    Version 3 (VFS_CAP_REVISION_3, linux/capability.h) ends with the id of the root that it is
    for, as seen from outside; for the container's own root that is version 2 to the container.
    """
    if len(value) != 24 or not packing.first_id:
        return value
    magic, *sets, root = struct.unpack("<6I", value)
    inside = root - packing.first_id
    if inside == 0:
        return struct.pack("<5I", (magic & 0xFFFFFF) | 0x02000000, *sets)
    return struct.pack("<6I", magic, *sets, inside) if 0 < inside < ID_COUNT else None


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OVERLAY + "opaque") == b"y"
    except OSError:
        return False


def _reopened(fd: int, flags: int) -> int:
    """Open for reading the very thing that an O_PATH descriptor leads to (proc(5))."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | flags)


def _mount_of(fd: int) -> str:
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    return next(line for line in text.splitlines() if line.startswith("mnt_id:"))
