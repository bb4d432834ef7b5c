"""Archives for tests, honest and hostile, made entry by entry."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from anchor_supervisor.images.model import Limits
from anchor_supervisor.images.unpack import Unpacked, unpack

Member = tuple[tarfile.TarInfo, bytes]


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> Member:
    """One entry; `fields` are attributes of its TarInfo."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def directory(name: str, **fields: object) -> Member:
    """A directory."""
    return member(name, b"", tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, to: str) -> Member:
    """A symbolic link."""
    return member(name, kind=tarfile.SYMTYPE, linkname=to)


def hard_link(name: str, to: str) -> Member:
    """A hard link."""
    return member(name, kind=tarfile.LNKTYPE, linkname=to)


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive of these entries, in this order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def unpacked_from(archive: bytes, root: Path, *, is_known: bool = False, **limits: int) -> Unpacked:
    """What unpacking says of it."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(io.BytesIO(archive), fd, Limits(**limits), is_known=is_known)
    finally:
        os.close(fd)


def outside(root: Path) -> dict[str, str | None]:
    """Everything beside the root, with content."""
    return {
        str(path): path.read_text() if path.is_file() else None
        for path in (*root.parent.iterdir(), *(root.parent / "outside").rglob("*"))
    }


def walk(top: Path) -> Iterator[Path]:
    """Everything beneath, and no link followed."""
    for folder, directories, files in os.walk(top):
        for name in (*directories, *files):
            yield Path(folder) / name
