"""One entry of a tar archive as a checked value: nothing in it can name a place outside the root.

Pure. tarfile has read the numbers and names; whether they are believable is decided here.
"""

from __future__ import annotations

import enum
import re
import tarfile
from collections.abc import Mapping
from typing import Final, final

from attrs import field, frozen

from anchor_supervisor.errors import ImageError

Name = tuple[bytes, ...]

WHITEOUT: Final = b".wh."  # before the name of what a layer removes (image-spec, layer.md)
OPAQUE: Final = b".wh..wh..opq"  # in a directory that shows nothing of the layers beneath
LONGEST_NAME: Final = 4095  # PATH_MAX less its NUL (limits.h)
LONGEST_COMPONENT: Final = 255  # NAME_MAX
LARGEST_ID: Final = 2**32 - 2  # 2**32 - 1 is (uid_t) -1, `do not change` (chown(2))
LARGEST_SIZE: Final = 2**63 - 1  # loff_t
_FARTHEST: Final = 2**34 * 10**9  # nanoseconds; what ext4's timestamps reach: the year 2514
_XATTR_PREFIX: Final = "SCHILY.xattr."
_CAPABILITY_SIZES: Final = (12, 20)  # capabilities(7): versions 1 and 2; 3 names a foreign root
_SECONDS: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,32}))?", re.ASCII)


class Kind(enum.Enum):
    """What an entry becomes. DEVICE becomes nothing."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"
    FIFO = "fifo"
    DEVICE = "device"


@final
@frozen
class Entry:
    """`name` in components, () for the root itself. `data` are (offset, length) of the content.

    `size` is the file's with its holes; `text` is a symbolic link's; `source` a hard link's name.
    """

    name: Name
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    data: tuple[tuple[int, int], ...] = ()
    text: bytes = b""
    source: Name = ()
    xattrs: Mapping[str, bytes] = field(factory=dict)

    def __str__(self) -> str:
        """Return the name for an error message, unprintable bytes escaped."""
        return printable(b"/".join(self.name) or b".")


def printable(name: bytes) -> str:
    """Make a name that an archive chose safe to show on a terminal."""
    return ascii(name.decode("utf-8", "backslashreplace"))[1:-1]


def split_name(raw: bytes) -> Name:
    """Split at slashes; `.` and empty components vanish.

    Raises ImageError for an absolute name, `..`, a NUL byte, or one too long to be a path.
    """
    if raw.startswith(b"/"):
        message = f"the archive has the absolute name `{printable(raw[:200])}`"
        raise ImageError(message)
    if b"\0" in raw or len(raw) > LONGEST_NAME:
        message = f"the archive has a name that is no path: `{printable(raw[:200])}`"
        raise ImageError(message)
    name = tuple(part for part in raw.split(b"/") if part not in (b"", b"."))
    if b".." in name:
        message = f"the archive has a name with `..`: `{printable(raw[:200])}`"
        raise ImageError(message)
    if any(len(part) > LONGEST_COMPONENT for part in name):
        message = f"the archive has a name that is too long: `{printable(raw[:200])}`"
        raise ImageError(message)
    return name


def entry_of(info: tarfile.TarInfo) -> Entry:
    """Check what tarfile read. Raises ImageError for anything an honest archive does not have."""
    name = split_name(_bytes(info.name))
    kind = _kind(info)
    for number in (info.uid, info.gid):
        if not 0 <= number <= LARGEST_ID:
            message = f"the archive's `{printable(b'/'.join(name))}` has the owner {number}"
            raise ImageError(message)
    if not 0 <= info.size <= LARGEST_SIZE:
        message = f"the archive's `{printable(b'/'.join(name))}` has the size {info.size}"
        raise ImageError(message)
    is_file = kind is Kind.FILE
    return Entry(
        name,
        kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        _mtime_ns(info),
        size=info.size if is_file else 0,
        data=_data(info) if is_file else (),
        text=_link_text(info) if kind is Kind.SYMLINK else b"",
        source=split_name(_bytes(info.linkname)) if kind is Kind.HARD_LINK else (),
        xattrs=_xattrs(info),
    )


def _bytes(text: str) -> bytes:
    """Undo tarfile's decoding: names were decoded with surrogateescape."""
    return text.encode("utf-8", "surrogateescape")


def _kind(info: tarfile.TarInfo) -> Kind:
    if info.isdir():
        return Kind.DIRECTORY
    if info.isreg():
        return Kind.FILE
    if info.issym():
        return Kind.SYMLINK
    if info.islnk():
        return Kind.HARD_LINK
    if info.isfifo():
        return Kind.FIFO
    if info.ischr() or info.isblk():
        return Kind.DEVICE
    message = (
        f"the archive's `{printable(_bytes(info.name)[:200])}` is of an unknown type {info.type!r}"
    )
    raise ImageError(message)


def _link_text(info: tarfile.TarInfo) -> bytes:
    """Take any text: a symbolic link is resolved inside the root, and never by us."""
    text = _bytes(info.linkname)
    if not text or b"\0" in text or len(text) > LONGEST_NAME:
        message = (
            f"the archive's `{printable(_bytes(info.name)[:200])}` is a symbolic link to nowhere"
        )
        raise ImageError(message)
    return text


def _data(info: tarfile.TarInfo) -> tuple[tuple[int, int], ...]:
    """Where the content goes: one piece, or a sparse file's, which must be in order and inside."""
    pieces: list[tuple[int, int]] | None = getattr(info, "sparse", None)
    if pieces is None:
        return ((0, info.size),)
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0 or offset + length > info.size:
            message = (
                f"the archive's `{printable(_bytes(info.name)[:200])}` has a malformed sparse map"
            )
            raise ImageError(message)
        end = offset + length
    return tuple(pieces)


def _mtime_ns(info: tarfile.TarInfo) -> int:
    """Nanoseconds; a pax header has them as decimal text, which a float could not hold."""
    text = info.pax_headers.get("mtime")
    if text is None:
        value = int(info.mtime) * 10**9
        return value if abs(value) <= _FARTHEST else 0
    match = _SECONDS.fullmatch(text)
    if match is None:
        return 0
    sign, seconds, fraction = match.groups(default="")
    value = int(seconds) * 10**9 + int(f"{fraction:0<9}"[:9])
    value = -value if sign else value
    return value if abs(value) <= _FARTHEST else 0


def _xattrs(info: tarfile.TarInfo) -> Mapping[str, bytes]:
    """user.* and security.capability; user.overlay.* is overlayfs's own and never an image's."""
    found = {}
    for key, text in info.pax_headers.items():
        name = key.removeprefix(_XATTR_PREFIX)
        if name == key or "\0" in name or len(name) > LONGEST_COMPONENT:
            continue
        value = _bytes(text)
        if name == "security.capability":
            if len(value) in _CAPABILITY_SIZES:
                found[name] = value
        elif name.startswith("user.") and not name.startswith("user.overlay."):
            found[name] = value
    return found
