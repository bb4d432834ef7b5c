"""A tar archive unpacked into an empty directory, with nothing touched outside it.

The format is tarfile's to parse; where anything lands is ours. Every name is walked from the
directory held open, one component at a time, and never through a symbolic link, so neither an
archive nor anything it has already unpacked can lead a write elsewhere. What the archive removes
from the layers beneath becomes overlayfs's marks, which nothing else in an archive can make:
neither an attribute trusted.overlay.* nor a character device 0:0 ever comes out of one.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, Final, cast, final

from anchor_supervisor.errors import AnchorError, HostError, ImageError
from anchor_supervisor.images.archive_stream import ArchiveStream
from anchor_supervisor.images.entry import Entry, Kind, Name, entry_of, printable
from anchor_supervisor.images.model import Limits
from anchor_supervisor.images.tree_writer import Level, TreeWriter, is_mark
from anchor_supervisor.values import define, frozen

_CHUNK: Final = 1 << 20
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_HOSTS_FAULT: Final = (
    *(errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM),
    *(errno.EACCES, errno.EOPNOTSUPP, errno.ESTALE),
)
_DEVICES: Final = {Kind.CHARACTER_DEVICE: stat.S_IFCHR, Kind.BLOCK_DEVICE: stat.S_IFBLK}


@final
@frozen
class Unpacked:
    """What came out, and the `digest` of the plain archive to its last byte: a layer's diff id.

    `size` is the plain archive's. `skipped` counts what no image has a use for: overlayfs's
    marks, and aufs's. `marks` counts what is removed from the layers beneath; `is_opaque` says
    that it is all of them, which overlayfs would not see at the root. `implied` are directories
    that have no entry of their own, () being the root: their owner and mode are our guess, and
    those of the same directory beneath are what is meant.
    """

    entries: int
    size: int
    skipped: int
    digest: str
    marks: int = 0
    is_opaque: bool = False
    implied: tuple[Name, ...] = ()


@final
@define
class _Unpacking:
    """One archive under way."""

    tree: TreeWriter
    stream: ArchiveStream
    ids: tuple[int, int]
    entries: int = 0
    skipped: int = 0


def unpack(
    archive: BinaryIO,
    root: int,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    is_known: bool = False,
) -> Unpacked:
    """Unpack `archive` into the empty directory `root`, a descriptor opened for reading.

    Owners are taken as the numbers in the archive. `is_known`: its digest is going to be compared
    with one from elsewhere, so the file may end without an end marker, and within the padding of
    its last block, as what `umoci insert` writes does (and nobody else minds). Raises ImageError
    for an archive that is malformed, cut short, too large, or tries to reach outside; HostError
    where the disk is full. What has been unpacked until then is the caller's to remove.
    """
    stream = ArchiveStream(archive, most=limits.size)
    try:
        tree = TreeWriter(root)
        try:
            unpacking = _Unpacking(tree, stream, (os.geteuid(), os.getegid()))
            os.fchmod(root, 0o755)  # unless the archive says otherwise
            for entry in _entries(unpacking, limits, is_known=is_known):
                _unpack_entry(unpacking, entry)
            tree.finish()
        finally:
            tree.close()
        digest = stream.drain()
    except AnchorError:
        raise
    except OSError as error:
        raise _in_words(error) from error
    finally:
        stream.close()
    return Unpacked(
        unpacking.entries,
        stream.tell(),
        unpacking.skipped,
        digest,
        tree.marks,
        tree.is_opaque,
        tuple(sorted(tree.implied)),
    )


def _in_words(error: OSError) -> HostError:
    if error.errno in _NO_SPACE:
        return HostError(
            "no space left on the device to unpack the archive",
            hint="free some, or move ANCHOR_DATA_DIR",
        )
    message = f"the archive cannot be unpacked: {error.strerror or error}"
    return HostError(message) if error.errno in _HOSTS_FAULT else ImageError(message)


def _entries(unpacking: _Unpacking, limits: Limits, *, is_known: bool) -> Iterator[Entry]:
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
            if is_known and _ends_in_padding(stream, archive):
                return
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
    if stream.last != bytes(tarfile.BLOCKSIZE) and not (is_known and not stream.last):
        raise ImageError("the archive is cut short or damaged: its end marker is missing")


def _ends_in_padding(stream: ArchiveStream, archive: tarfile.TarFile | None) -> bool:
    """Whether the file ended less than a block before the next header should have begun.

    Or before its first byte: a layer of nothing at all. tarfile's `offset` is the next header's
    place, and stays behind it while that header (with those that extend it) is read.
    """
    if archive is None:
        return stream.tell() == 0
    return not stream.last and 0 < archive.offset - stream.tell() < tarfile.BLOCKSIZE


def _unpack_entry(unpacking: _Unpacking, entry: Entry) -> None:
    tree = unpacking.tree
    match entry.kind:
        case Kind.DIRECTORY:
            directory = tree.make_directory(entry.name)
            if (directory.uid, directory.gid) != (entry.uid, entry.gid):
                os.fchown(directory.fd, entry.uid, entry.gid)
            _set_mode_and_attributes(directory.fd, entry)
            directory.uid, directory.gid = entry.uid, entry.gid
            directory.mtime_ns = entry.mtime_ns
        case Kind.NOTHING:
            unpacking.skipped += 1
        case Kind.OPAQUE:
            tree.hide_beneath(entry.name)
        case Kind.WHITEOUT:
            tree.remove_beneath(entry.name)
        case _ if not entry.name:
            message = f"the archive's root is a {entry.kind.value}"
            raise ImageError(message)
        case Kind.HARD_LINK:
            _make_hard_link(unpacking, entry)
        case _:
            _make(unpacking, entry)


def _make(unpacking: _Unpacking, entry: Entry) -> None:
    """Make what is neither a directory nor a second name."""
    parent, name = unpacking.tree.enter(entry.name[:-1]), entry.name[-1]
    try:
        _create(unpacking, entry, parent, name)
    except FileExistsError:
        unpacking.tree.make_room(parent, entry.name, entry.kind.value)
        _create(unpacking, entry, parent, name)


def _create(unpacking: _Unpacking, entry: Entry, parent: Level, name: bytes) -> None:
    if entry.kind is Kind.FILE:
        _make_file(unpacking, entry, parent, name)
        return
    if entry.kind is Kind.SYMLINK:
        os.symlink(entry.text, name, dir_fd=parent.fd)
    else:
        kind = _DEVICES.get(entry.kind, stat.S_IFIFO)
        os.mknod(name, kind | 0o600, entry.device, dir_fd=parent.fd)
    if not _is_owned_already(unpacking, entry, parent.gid):
        os.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
    if entry.kind is not Kind.SYMLINK:
        os.chmod(name, entry.mode, dir_fd=parent.fd)
    times = (entry.mtime_ns, entry.mtime_ns)
    os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)


def _make_hard_link(unpacking: _Unpacking, entry: Entry) -> None:
    """Link to a file of this archive; a link to what was left out is left out with it."""
    if entry.source == entry.name:
        return
    tree = unpacking.tree
    missing = ImageError(
        f"the archive's `{entry}` is a hard link to `{printable(b'/'.join(entry.source))}`, "
        "which is not a file of the archive"
    )
    if not entry.source:
        raise missing
    try:
        source = tree.open_existing(entry.source[:-1])
    except (FileNotFoundError, NotADirectoryError) as error:
        if unpacking.skipped:
            unpacking.skipped += 1
            return
        raise missing from error
    try:
        status = os.stat(entry.source[-1], dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) or is_mark(status):
            raise missing
        _link(tree, entry, source)
    except FileNotFoundError as error:
        if not unpacking.skipped:
            raise missing from error
        unpacking.skipped += 1
    finally:
        os.close(source)


def _link(tree: TreeWriter, entry: Entry, source: int) -> None:
    parent, name = tree.enter(entry.name[:-1]), entry.name[-1]
    for _ in range(2):
        try:
            os.link(
                entry.source[-1], name, src_dir_fd=source, dst_dir_fd=parent.fd,
                follow_symlinks=False,
            )  # fmt: skip
        except FileExistsError:
            tree.make_room(parent, entry.name, entry.kind.value)
        else:
            return


def _make_file(unpacking: _Unpacking, entry: Entry, parent: Level, name: bytes) -> None:
    file = os.open(name, _FILE_FLAGS, 0o600, dir_fd=parent.fd)
    try:
        end = 0
        for offset, length in entry.data:
            if offset != end:
                os.lseek(file, offset, os.SEEK_SET)
            _write_content(unpacking.stream, entry, file, length)
            end = offset + length
        if end != entry.size:
            os.ftruncate(file, entry.size)
        if not _is_owned_already(unpacking, entry, parent.gid):
            os.fchown(file, entry.uid, entry.gid)
        _set_mode_and_attributes(file, entry)
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


def _set_mode_and_attributes(fd: int, entry: Entry) -> None:
    """Only after the owner: chown drops set-id bits and file capabilities (chown(2))."""
    os.fchmod(fd, entry.mode)
    for name, value in entry.xattrs.items():
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            # ext4 says ENOSPC where the attributes of one file do not fit into a block (xattr(7)).
            if error.errno not in (errno.ENOSPC, errno.E2BIG, errno.ERANGE):
                raise
            message = f"the archive's `{entry}` has larger attributes than this file system takes"
            raise ImageError(message) from error


def _is_owned_already(unpacking: _Unpacking, entry: Entry, parent_gid: int) -> bool:
    """Whether something new has the right owner, even where the group comes from the directory.

    It does where that has its set-group-id bit, or its file system is mounted with `grpid`.
    """
    return unpacking.ids == (entry.uid, entry.gid) and entry.gid == parent_gid
