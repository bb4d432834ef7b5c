"""An image archive that is a tar: its members found by where they lie, nothing unpacked.

Only the headers are read at first. They are hostile: a header may claim gigabytes for itself, links
may lead in circles or out. A link is followed in the table of names alone, and only so far.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, Final, Protocol, cast, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load_files import Slice, buffered, checked_name, missing, shown
from anchor_supervisor.values import frozen

MOST_MEMBERS: Final = 50_000  # 500 layers of 100 images; more is no image archive
MOST_LINKS: Final = 16
_LARGEST_HEADER: Final = 1 << 20  # bytes; pax headers of honest archives have kilobytes
_KNOWN: Final = "a tar (plain, gz, xz, bz2 or zst), an archive of images, or a directory"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, position: int, /) -> int: ...
    def tell(self) -> int: ...


@final
class _Headers:
    """What tarfile reads headers from: it would take any length that a header claims."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self.tell = file.tell

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            message = f"the archive has a header of more than {_LARGEST_HEADER} bytes"
            raise ImageError(message)
        return self._file.read(size)


@final
@frozen
class Member:
    """A member's content: where it lies, or `link`: the components of what it stands for."""

    offset: int
    size: int
    link: tuple[str, ...] | None = None


def members(file: _Readable) -> Iterator[tuple[tuple[str, ...], tarfile.TarInfo]]:
    """Every member's name in components, with its header. Raises ImageError for a damaged one.

    A name that leads upwards names nothing here, and is left out.
    """
    archive: tarfile.TarFile | None = None
    while True:
        try:
            if archive is None:
                archive = tarfile.TarFile(
                    fileobj=cast("IO[bytes]", _Headers(file)),
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            info = archive.next()
        # tarfile lets what int(), struct and its own recursion raise on bad headers pass through.
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, LookupError) as error:
            if archive is None:
                raise ImageError("it is not a tar archive", hint=_KNOWN) from error
            message = f"the archive is malformed: {error}"
            raise ImageError(message) from error
        if info is None:
            return
        archive.members = []  # type: ignore[attr-defined] # it would keep every header until the end
        name = tuple(part for part in info.name.split("/") if part not in {"", "."})
        if ".." not in name:
            yield name, info


@final
@frozen
class TarFiles:
    """The members of an uncompressed tar, by name; a later one replaces an earlier."""

    file: BinaryIO
    table: dict[tuple[str, ...], Member]

    @classmethod
    def index(cls, file: BinaryIO) -> TarFiles | None:
        """Read the headers of a file that can be sought in; None: too many for an image archive.

        Raises ImageError where it is damaged.
        """
        table: dict[tuple[str, ...], Member] = {}
        file.seek(0)
        for name, info in members(file):
            entry = _member(name, info)
            if entry is not None:
                table[name] = entry
            else:
                table.pop(name, None)
            if len(table) > MOST_MEMBERS:
                return None
        return cls(file, table)

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name, perhaps through links."""
        try:
            return self._resolve(name) is not None
        except ImageError:
            return False

    def open(self, name: str) -> BinaryIO:
        """Open a member."""
        found = self._resolve(name)
        if found is None:
            raise missing(name)
        return buffered(Slice(self.file.fileno(), found.offset, found.size))

    def _resolve(self, name: str) -> Member | None:
        """Follow links between members; docker once saved equal layers as links to the first."""
        checked_name(name)
        at = tuple(part for part in name.split("/") if part not in {"", "."})
        for _ in range(MOST_LINKS):
            found = self.table.get(at)
            if found is None or found.link is None:
                return found
            at = found.link
        message = f"the archive's {shown(name)} is a link that leads in circles"
        raise ImageError(message)


def _member(name: tuple[str, ...], info: tarfile.TarInfo) -> Member | None:
    if info.issym():
        link = _target(name[:-1], info.linkname)
    elif info.islnk():
        link = _target((), info.linkname)
    elif info.isreg() and not info.issparse():
        return Member(info.offset_data, info.size)
    else:
        return None
    return None if link is None else Member(0, 0, link)


def _target(base: tuple[str, ...], text: str) -> tuple[str, ...] | None:
    """Resolve a link's text by its words; None where it leads out of the archive."""
    way = [] if text.startswith("/") else list(base)
    for part in text.split("/"):
        if part == "..":
            if not way:
                return None
            way.pop()
        elif part not in {"", "."}:
            way.append(part)
    return tuple(way)
