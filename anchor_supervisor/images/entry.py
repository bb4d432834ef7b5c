"""One entry of a tar archive as a checked value: nothing in it can name a place outside the root.

Pure. tarfile has read the numbers and names; whether they are believable is decided here.
"""

from __future__ import annotations

import enum
import os
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.values import field, frozen

if TYPE_CHECKING:  # what reads no archive needs these names, and not all of tarfile
    import tarfile

Name = tuple[bytes, ...]

WHITEOUT: Final = b".wh."  # before the name of what a layer removes (image-spec, layer.md)
OPAQUE: Final = b".wh..wh..opq"  # in a directory that shows nothing of the layers beneath
LONGEST_NAME: Final = 4095  # PATH_MAX less its NUL (limits.h)
LONGEST_COMPONENT: Final = 255  # NAME_MAX
LARGEST_ID: Final = 2**32 - 2  # 2**32 - 1 is (uid_t) -1, `do not change` (chown(2))
LARGEST_SIZE: Final = 2**63 - 1  # loff_t
_FARTHEST: Final = 2**34 * 10**9  # nanoseconds; what ext4's timestamps reach: the year 2514
DEEPEST: Final = 512  # directories in one another; each is a descriptor while it is filled
_META: Final = b".wh..wh."  # aufs's own: once in images, and never anybody's content
_LARGEST_MAJOR: Final = 2**12 - 1  # MINORBITS is 20 (linux/kdev_t.h)
_LARGEST_MINOR: Final = 2**20 - 1
_XATTR_PREFIX: Final = "SCHILY.xattr."
_SECONDS: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,32}))?", re.ASCII)


class Kind(enum.Enum):
    """What an entry becomes. NOTHING is left out: what no image may make, or has a use for."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"
    FIFO = "fifo"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    WHITEOUT = "removal"
    OPAQUE = "opaque mark"
    NOTHING = "entry without a meaning"


@final
@frozen
class Entry:
    """`name` in components, () for the root itself. `data` are (offset, length) of the content.

    `size` is the file's with its holes; `text` is a symbolic link's; `source` a hard link's name.
    The name of a WHITEOUT is what it removes, and that of OPAQUE the directory that it is about.
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
    device: int = 0
    xattrs: Mapping[str, bytes] = field(factory=dict)

    def __str__(self) -> str:
        """Return the name for an error message, unprintable bytes escaped."""
        return printable(b"/".join(self.name) or b".")


def printable(name: bytes) -> str:
    """Make a name that an archive chose safe to show on a terminal."""
    return ascii(name.decode("utf-8", "backslashreplace"))[1:-1]


def split_name(raw: bytes) -> Name:
    """Split at slashes; `.` and empty components vanish, so an absolute name is one in the root.

    Raises ImageError for `..`, a NUL byte, or one too long or too deep to be a path.
    """
    if b"\0" in raw or len(raw) > LONGEST_NAME:
        message = f"the archive has a name that is no path: `{printable(raw[:200])}`"
        raise ImageError(message)
    name = tuple([part for part in raw.split(b"/") if part not in (b"", b".")])
    if b".." in name:
        message = f"the archive has a name with `..`: `{printable(raw[:200])}`"
        raise ImageError(message)
    if len(name) > DEEPEST or (len(raw) > LONGEST_COMPONENT and _has_long_part(name)):
        message = f"the archive has a name that is too long: `{printable(raw[:200])}`"
        raise ImageError(message)
    return name


def _has_long_part(name: Name) -> bool:
    """Only the mark of a removal may be longer than what it removes."""
    longest = max(len(part) for part in name[:-1]) if name[:-1] else 0
    last = name[-1].removeprefix(WHITEOUT) if name else b""
    return max(longest, len(last)) > LONGEST_COMPONENT


def entry_of(info: tarfile.TarInfo, *, layer: bool = True) -> Entry:
    """Check what tarfile read. Raises ImageError for anything an honest archive does not have.

    `layer` False: the archive is not a layer, and its names mean no removals.
    """
    name = split_name(_bytes(info.name))
    mark, name = _mark(name) if layer else (None, name)
    kind = mark or _kind(info)
    for number in (info.uid, info.gid):
        if not 0 <= number <= LARGEST_ID:
            message = f"the archive's `{printable(b'/'.join(name))}` has the owner {number}"
            raise ImageError(message)
    if not 0 <= info.size <= LARGEST_SIZE:
        message = f"the archive's `{printable(b'/'.join(name))}` has the size {info.size}"
        raise ImageError(message)
    is_file = kind is Kind.FILE
    device = 0
    if kind is Kind.CHARACTER_DEVICE or kind is Kind.BLOCK_DEVICE:
        device = _device(info)
        if kind is Kind.CHARACTER_DEVICE and device == 0:  # overlayfs would take it for a mark
            kind = Kind.NOTHING
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
        source=_link_source(info, layer=layer) if kind is Kind.HARD_LINK else (),
        device=device,
        xattrs=_xattrs(info) if info.pax_headers else {},
    )


def _mark(name: Name) -> tuple[Kind | None, Name]:
    """Tell what is about other layers from what is content (image-spec, layer.md, Whiteouts).

    Any type of entry will do: aufs made hard links.
    """
    marked = [part for part in name if part.startswith(WHITEOUT)]
    if not marked:
        return None, name
    last = name[-1]
    is_opaque = last == OPAQUE
    if is_opaque:
        marked.pop()
    if any(part.startswith(_META) for part in marked):
        return Kind.NOTHING, name
    if is_opaque and not marked:
        return Kind.OPAQUE, name[:-1]
    removed = last.removeprefix(WHITEOUT)
    if is_opaque or marked != [last] or removed in (b"", b".", b".."):
        message = f"the archive has a malformed removal: `{printable(b'/'.join(name)[:200])}`"
        raise ImageError(message)
    return Kind.WHITEOUT, (*name[:-1], removed)


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
    if info.ischr():
        return Kind.CHARACTER_DEVICE
    if info.isblk():
        return Kind.BLOCK_DEVICE
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


def _link_source(info: tarfile.TarInfo, *, layer: bool) -> Name:
    """Where a hard link leads: to content, never to a mark."""
    source = split_name(_bytes(info.linkname))
    if layer and any(part.startswith(WHITEOUT) for part in source):
        message = f"the archive's `{printable(_bytes(info.name)[:200])}` is a link to a removal"
        raise ImageError(message)
    return source


def _device(info: tarfile.TarInfo) -> int:
    if not (0 <= info.devmajor <= _LARGEST_MAJOR and 0 <= info.devminor <= _LARGEST_MINOR):
        message = (
            f"the archive's `{printable(_bytes(info.name)[:200])}` is an impossible device: "
            f"{info.devmajor}:{info.devminor}"
        )
        raise ImageError(message)
    return os.makedev(info.devmajor, info.devminor)


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
            if capability := _capability(value):
                found[name] = capability
        elif name.startswith("user.") and not name.startswith("user.overlay."):
            found[name] = value
    return found


def _capability(value: bytes) -> bytes | None:
    """Return file capabilities as this kernel takes them; None for what is none.

    The three revisions differ in size (linux/capability.h). The first has 32 bits of each set, and
    has not been accepted since the third came (Linux 4.14).
    """
    if len(value) not in (12, 20, 24):
        return None
    magic = int.from_bytes(value[:4], "little")
    if magic >> 24 != {12: 1, 20: 2, 24: 3}[len(value)]:
        return None
    if len(value) > 12:
        return value
    permitted, inheritable = struct.unpack_from("<2I", value, 4)
    flags = magic & 0xFFFFFF
    return struct.pack("<5I", 0x02000000 | flags, permitted, inheritable, 0, 0)
