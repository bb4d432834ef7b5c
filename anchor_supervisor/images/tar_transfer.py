"""A tree of a container as a tar archive on a pipe, either way, packed and unpacked in process.

Unlike a layer, an archive goes into a directory that has things in it and that others are
changing. Names are walked from that directory, one component at a time, and never through a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, Final, cast, final

from anchor_supervisor.errors import AnchorError, HostError, ImageError, KernelError
from anchor_supervisor.images import headers
from anchor_supervisor.images.archive_stream import ArchiveStream
from anchor_supervisor.images.entry import Entry, Kind, Name, entry_of, printable
from anchor_supervisor.images.headers import Header
from anchor_supervisor.images.node import Attributes, Node
from anchor_supervisor.images.pack import ID_COUNT, NOBODY, pack_tree
from anchor_supervisor.images.planting import Planter
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import define, field

LARGEST: Final = 1 << 50  # bytes of one archive; the disk ends before
_CHUNK: Final = 1 << 20
_IMPLIED_MODE: Final = 0o755  # of directories that an archive only has as parts of names

Complain = Callable[[str], None]


def write_tar(
    node: Node,
    name: bytes,
    sink: Callable[[bytes], object],
    *,
    first_id: int,
    apart: frozenset[int] = frozenset(),
) -> None:
    """Write `node` as an archive whose top is `name`; owners are numbered as inside.

    `apart` is as in `transfer`.
    """
    if node.is_directory:
        opened = node.open()
        try:
            left_out = apart - {node.status.st_dev}
            pack_tree(opened, sink, first_id=first_id, prefix=name, apart=left_out)
        finally:
            os.close(opened)
        return
    kinds = {stat.S_IFREG: headers.FILE, stat.S_IFLNK: headers.SYMLINK, stat.S_IFIFO: headers.FIFO}
    kind = kinds.get(node.kind)
    if kind is None:
        message = f"`{printable(name)}` is neither a file, a link, a FIFO nor a directory"
        raise HostError(message)
    header = Header(
        name,
        kind,
        stat.S_IMODE(node.status.st_mode),
        _inside(node.status.st_uid, first_id),
        _inside(node.status.st_gid, first_id),
        size=node.status.st_size if kind == headers.FILE else 0,
        mtime_ns=node.status.st_mtime_ns,
        link=node.link_text() if kind == headers.SYMLINK else b"",
    )
    sink(headers.encoded(header))
    if kind == headers.FILE:
        _write_content(node, header.size, sink)
    sink(headers.END)


def _inside(number: int, first_id: int) -> int:
    """Number an owner as inside, as `pack_tree` does: one whom the container lacks is nobody."""
    inside = number - first_id
    return inside if not first_id or 0 <= inside < ID_COUNT else NOBODY


def _write_content(node: Node, missing: int, sink: Callable[[bytes], object]) -> None:
    """As long as the header says: what it grew by is cut, what is missing is zeros."""
    fill = headers.padding(missing)
    file = node.open()
    try:
        while missing:
            piece = os.read(file, min(missing, _CHUNK)) or bytes(min(missing, _CHUNK))
            sink(piece)
            missing -= len(piece)
    finally:
        os.close(file)
    sink(fill)


@final
@define
class _Reading:
    """One archive under way; `finishing` are directories whose attributes come last."""

    planter: Planter
    complain: Complain
    top: int
    stream: ArchiveStream
    finishing: dict[Name, tuple[Attributes, bool]] = field(factory=dict)


def read_tar(archive: BinaryIO, top: int, planter: Planter, complain: Complain) -> None:
    """Unpack `archive` into the directory `top`, over what is there. None of it leads outside.

    Raises ImageError for a malformed archive, HostError for what stands in the way.
    """
    with contextlib.closing(ArchiveStream(archive, most=LARGEST)) as stream:
        reading = _Reading(planter, complain, top, stream)
        for entry in _entries(stream):
            try:
                _take(reading, entry)
            except OSError as error:
                if isinstance(error, AnchorError):
                    raise
                raise KernelError(error.errno or 0, "copy", str(entry)) from error
        for name, (attributes, made) in reversed(reading.finishing.items()):
            _finish(reading, name, attributes, made=made)


def _entries(stream: ArchiveStream) -> Iterator[Entry]:
    archive: tarfile.TarFile | None = None
    while True:
        stream.begin_header()
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
        entry = entry_of(info, layer=False)
        stream.seek(info.offset_data)
        yield entry
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise ImageError("the archive is cut short or damaged: its end marker is missing")


def _take(reading: _Reading, entry: Entry) -> None:
    if not entry.name:
        return
    attributes = Attributes(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs)
    planter, name = reading.planter, entry.name[-1]
    parent = _walk(reading, entry.name[:-1], make=True)
    try:
        if entry.kind is Kind.DIRECTORY:
            directory, made = planter.directory(parent, name)
            os.close(directory)
            made = made or reading.finishing.get(entry.name, (attributes, False))[1]
            reading.finishing[entry.name] = (attributes, made)
        elif entry.kind is Kind.FILE:
            planter.file(parent, name, attributes, lambda file: _fill(reading, entry, file))
        elif entry.kind is Kind.SYMLINK:
            planter.symlink(parent, name, attributes, entry.text)
        elif entry.kind is Kind.FIFO:
            planter.fifo(parent, name, attributes)
        elif entry.kind is Kind.HARD_LINK:
            _link(reading, entry, parent)
        else:
            reading.complain(f"left out `{entry}`: a {entry.kind.value} is not copied")
    finally:
        os.close(parent)


def _link(reading: _Reading, entry: Entry, parent: int) -> None:
    try:
        source = _walk(reading, entry.source[:-1], make=False)
        try:
            reading.planter.link(source, entry.source[-1], parent, entry.name[-1])
        finally:
            os.close(source)
    except (FileNotFoundError, IndexError) as error:
        message = f"the archive's `{entry}` is a hard link to what is not there"
        raise ImageError(message) from error


def _walk(reading: _Reading, name: Name, *, make: bool) -> int:
    """Open the directory `name` beneath the top; the caller closes it."""
    directory = os.open(".", DIRECTORY_FLAGS, dir_fd=reading.top)
    try:
        for depth, component in enumerate(name):
            if make:
                below, made = reading.planter.directory(directory, component)
            else:
                below, made = os.open(component, DIRECTORY_FLAGS, dir_fd=directory), False
            os.close(directory)
            directory = below
            if made:  # the archive has not told of it, and may later
                implied = Attributes(_IMPLIED_MODE, 0, 0, time.time_ns(), {})
                reading.finishing[name[: depth + 1]] = (implied, True)
    except BaseException:
        os.close(directory)
        raise
    return directory


def _fill(reading: _Reading, entry: Entry, file: int) -> None:
    for offset, length in entry.data:
        os.lseek(file, offset, os.SEEK_SET)
        left = length
        while left:
            piece = memoryview(reading.stream.read(min(left, _CHUNK)))
            if not piece:
                message = f"the archive is cut short in `{entry}`"
                raise ImageError(message)
            left -= len(piece)
            while piece:
                piece = piece[os.write(file, piece) :]
    os.ftruncate(file, entry.size)


def _finish(reading: _Reading, name: Name, attributes: Attributes, *, made: bool) -> None:
    try:
        directory = _walk(reading, name, make=False)
    except OSError:  # a later entry, or the container, took its place
        return
    try:
        reading.planter.finish_directory(directory, attributes, made=made)
    finally:
        os.close(directory)
