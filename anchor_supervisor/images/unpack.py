"""A tar archive unpacked into an empty directory, with nothing touched outside it.

The format is tarfile's to parse; where anything lands is ours. Every name is walked from the
directory held open, one component at a time, and never through a symbolic link, so neither an
archive nor anything it has already unpacked can lead a write elsewhere. Device nodes are left out
(a container's devices are its /dev, and a 0:0 node would be a whiteout to overlayfs), as are
attributes other than user.* and security.capability.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, Final, cast, final

from attrs import define, field, frozen

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.archive_stream import ArchiveStream
from anchor_supervisor.images.entry import Entry, Kind, Name, entry_of, printable
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS

_CHUNK: Final = 1 << 20
_WALK_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


@final
@frozen
class Limits:
    """What an archive may grow to: bytes of content and headers, and entries."""

    size: int = 256 << 30
    entries: int = 4_000_000


@final
@frozen
class Unpacked:
    """What came out. `skipped` counts device nodes, which are left out on purpose."""

    entries: int
    size: int
    skipped: int


@final
@define
class _Unpacking:
    """One archive under way. `parent` is the directory last walked to, kept open."""

    root: int
    stream: ArchiveStream
    directory_times: dict[Name, int] = field(factory=dict)
    parent: tuple[Name, int] | None = None
    entries: int = 0
    skipped: int = 0


def unpack(archive: BinaryIO, root: int, limits: Limits = Limits()) -> Unpacked:
    """Unpack `archive` into the empty directory `root`, a descriptor opened for reading.

    Owners are taken as the numbers in the archive. Raises ImageError for an archive that is
    malformed, cut short, too large, or tries to reach outside; HostError where the disk is full.
    What has been unpacked until then is the caller's to remove.
    """
    unpacking = _Unpacking(root, ArchiveStream(archive, most=limits.size))
    try:
        os.fchmod(root, 0o755)  # unless the archive says otherwise
        for entry in _entries(unpacking, limits):
            _unpack_entry(unpacking, entry)
        _set_directory_times(unpacking)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise HostError(
                "no space left on the device to unpack the archive",
                hint="free some, or move ANCHOR_DATA_DIR",
            ) from error
        message = f"the archive cannot be unpacked: {error.strerror or error}"
        raise ImageError(message) from error
    finally:
        _forget_parent(unpacking)
    unpacking.stream.drain()
    return Unpacked(unpacking.entries, unpacking.stream.tell(), unpacking.skipped)


def _entries(unpacking: _Unpacking, limits: Limits) -> Iterator[Entry]:
    """Every entry, checked, in the archive's order."""
    stream = unpacking.stream
    stream.begin_header()
    archive: tarfile.TarFile | None = None
    while True:
        try:
            if archive is None:
                archive = tarfile.TarFile(
                    fileobj=cast("IO[bytes]", stream), encoding="utf-8", errors="surrogateescape"
                )
            info = archive.next()
        # tarfile lets what int(), struct and its own recursion raise on bad headers pass through.
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, LookupError) as error:
            message = f"the archive is malformed: {error}"
            raise ImageError(message) from error
        if info is None:
            break
        archive.members = []  # type: ignore[attr-defined] # it would keep every header until the end
        stream.begin_data()
        unpacking.entries += 1
        if unpacking.entries > limits.entries:
            message = f"the archive has more than {limits.entries} entries"
            raise ImageError(message)
        entry = entry_of(info)
        stream.seek(info.offset_data)
        yield entry
        stream.begin_header()
    # tarfile takes garbage and a clean cut for the end; an honest archive ends with zeros (tar(5)).
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise ImageError("the archive is cut short or damaged: its end marker is missing")


def _unpack_entry(unpacking: _Unpacking, entry: Entry) -> None:
    if not entry.name:
        if entry.kind is not Kind.DIRECTORY:
            message = f"the archive's root is a {entry.kind.value}"
            raise ImageError(message)
        _set_attributes(unpacking.root, entry)
        unpacking.directory_times[()] = entry.mtime_ns
        return
    if entry.kind is Kind.DEVICE:
        unpacking.skipped += 1
        return
    parent, name = _walk(unpacking, entry.name[:-1]), entry.name[-1]
    if entry.kind is Kind.HARD_LINK:
        _make_hard_link(unpacking, entry, parent, name)
        return
    is_there = _make_room(parent, name, entry)
    match entry.kind:
        case Kind.DIRECTORY:
            if not is_there:
                os.mkdir(name, 0o700, dir_fd=parent)
            _finish_directory(unpacking, entry, parent, name)
        case Kind.FILE:
            _make_file(unpacking.stream, entry, parent, name)
        case Kind.SYMLINK:
            os.symlink(entry.text, name, dir_fd=parent)
            _set_owner_and_time(entry, parent, name)
        case Kind.FIFO:
            os.mkfifo(name, dir_fd=parent)
            _set_owner_and_time(entry, parent, name)
            os.chmod(name, entry.mode, dir_fd=parent)


def _walk(unpacking: _Unpacking, name: Name, *, make: bool = True) -> int:
    """Open the directory `name`, made where missing; valid until the next walk.

    O_NOFOLLOW with O_DIRECTORY refuses a symbolic link in any place of the way (open(2)).
    """
    if unpacking.parent is not None and unpacking.parent[0] == name:
        return unpacking.parent[1]
    _forget_parent(unpacking)
    directory = os.dup(unpacking.root)
    try:
        for depth, component in enumerate(name, 1):
            try:
                below = _step(directory, component, make=make)
            except NotADirectoryError as error:
                way = printable(b"/".join(name[:depth]))
                message = f"the archive leads through `{way}`, which is a link or a file"
                raise ImageError(message) from error
            os.close(directory)
            directory = below
    except BaseException:
        os.close(directory)
        raise
    unpacking.parent = (name, directory)
    return directory


def _step(directory: int, component: bytes, *, make: bool) -> int:
    try:
        return os.open(component, _WALK_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(component, 0o755, dir_fd=directory)
        return os.open(component, _WALK_FLAGS, dir_fd=directory)


def _forget_parent(unpacking: _Unpacking) -> None:
    if unpacking.parent is not None:
        os.close(unpacking.parent[1])
        unpacking.parent = None


def _make_room(parent: int, name: bytes, entry: Entry) -> bool:
    """Remove what an earlier entry left at this name; True where it is a directory to keep."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return False
    if entry.kind is Kind.DIRECTORY:
        return True
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        message = f"the archive has `{entry}` as a full directory and as a {entry.kind.value}"
        raise ImageError(message) from error
    return False


def _make_hard_link(unpacking: _Unpacking, entry: Entry, parent: int, name: bytes) -> None:
    """Link to a file of this archive; a link to a skipped device is skipped with it."""
    if entry.source == entry.name:
        return
    missing = ImageError(
        f"the archive's `{entry}` is a hard link to `{printable(b'/'.join(entry.source))}`, "
        "which is not a file of the archive"
    )
    if not entry.source:
        raise missing
    target = os.dup(parent)  # the next walk closes the kept one
    try:
        source = _walk(unpacking, entry.source[:-1], make=False)
        status = os.stat(entry.source[-1], dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            raise missing
        _make_room(target, name, entry)
        os.link(entry.source[-1], name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileNotFoundError as error:
        if unpacking.skipped:
            unpacking.skipped += 1
            return
        raise missing from error
    finally:
        os.close(target)


def _finish_directory(unpacking: _Unpacking, entry: Entry, parent: int, name: bytes) -> None:
    directory = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    try:
        _set_attributes(directory, entry)
    finally:
        os.close(directory)
    unpacking.directory_times[entry.name] = entry.mtime_ns


def _make_file(stream: ArchiveStream, entry: Entry, parent: int, name: bytes) -> None:
    file = os.open(name, _FILE_FLAGS, 0o600, dir_fd=parent)
    try:
        for offset, length in entry.data:
            os.lseek(file, offset, os.SEEK_SET)
            _write_content(stream, entry, file, length)
        os.ftruncate(file, entry.size)
        _set_attributes(file, entry)
        os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(file)


def _write_content(stream: ArchiveStream, entry: Entry, file: int, length: int) -> None:
    while length:
        piece = memoryview(stream.read(min(length, _CHUNK)))
        if not piece:
            message = f"the archive is cut short in `{entry}`"
            raise ImageError(message)
        length -= len(piece)
        while piece:
            piece = piece[os.write(file, piece) :]


def _set_attributes(fd: int, entry: Entry) -> None:
    """Owner first: chown drops set-id bits and file capabilities (chown(2))."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    for name, value in entry.xattrs.items():
        os.setxattr(fd, name, value)


def _set_owner_and_time(entry: Entry, parent: int, name: bytes) -> None:
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    times = (entry.mtime_ns, entry.mtime_ns)
    os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)


def _set_directory_times(unpacking: _Unpacking) -> None:
    """Last of all, since every entry made in a directory touches it; deepest first costs least."""
    _forget_parent(unpacking)
    for name, mtime_ns in unpacking.directory_times.items():
        try:
            directory = _walk(unpacking, name, make=False)
        except (FileNotFoundError, ImageError):  # a later entry took its place
            continue
        os.utime(f"/proc/self/fd/{directory}", ns=(mtime_ns, mtime_ns))
