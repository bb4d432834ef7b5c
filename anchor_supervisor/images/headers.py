"""The headers of the archives that we write: pax (POSIX.1-2001), the same bytes for the same tree.

What a ustar header cannot say (long or foreign names, large numbers, fractions of a second,
attributes) goes into a pax header before it, sorted. Attribute values are bytes there, as
everybody else writes them, though the standard would want UTF-8.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, final

from anchor_supervisor.values import field, frozen

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)  # two blocks of zeros (pax(1), ustar Interchange Format)

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
_EXTENDED: Final = b"x"

_LONGEST_NAME: Final = 100
_LARGEST_ID: Final = 8**7 - 1
_LARGEST_SIZE: Final = 8**11 - 1
_NANO: Final = 10**9


@final
@frozen
class Header:
    """One entry, as it is to be written. `link` is a symbolic link's text or a hard link's name."""

    name: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(factory=dict)


def encoded(header: Header) -> bytes:
    """Return the blocks of `header`; its content, padded to blocks, is to follow."""
    records = _records(header)
    block = _ustar(header, header.kind, header.name, header.size)
    if not records:
        return block
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    # The name is for readers that know no pax, and take the records for a file.
    extended = _ustar(
        header, _EXTENDED, b"PaxHeaders/" + header.name.rsplit(b"/", 1)[-1], len(body)
    )
    return b"".join((extended, body, padding(len(body)), block))


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of `size` bytes."""
    return bytes(-size % BLOCK)


def _records(header: Header) -> dict[bytes, bytes]:
    records = {b"SCHILY.xattr." + os.fsencode(key): value for key, value in header.xattrs.items()}
    texts = ((b"path", header.name), (b"linkpath", header.link))
    records |= {key: text for key, text in texts if len(text) > _LONGEST_NAME or not text.isascii()}
    for key, number, largest in (
        (b"uid", header.uid, _LARGEST_ID),
        (b"gid", header.gid, _LARGEST_ID),
        (b"size", header.size, _LARGEST_SIZE),
    ):
        if number > largest:
            records[key] = b"%d" % number
    seconds, rest = divmod(header.mtime_ns, _NANO)
    if rest or not 0 <= seconds <= _LARGEST_SIZE:
        records[b"mtime"] = _decimal(header.mtime_ns)
    return records


def _decimal(nanoseconds: int) -> bytes:
    """Seconds as exact decimal text."""
    sign = b"-" if nanoseconds < 0 else b""
    seconds, rest = divmod(abs(nanoseconds), _NANO)
    fraction = b"" if not rest else b".%09d" % rest
    return sign + b"%d" % seconds + fraction.rstrip(b"0")


def _record(key: bytes, value: bytes) -> bytes:
    """Return `length key=value\\n`, where the length counts its own digits (pax(1))."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    if len(b"%d" % length) + rest != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _ustar(header: Header, kind: bytes, name: bytes, size: int) -> bytes:
    """Return one block; a number that does not fit is 0 here and in a record of its own."""
    uid, gid = (number if number <= _LARGEST_ID else 0 for number in (header.uid, header.gid))
    seconds = header.mtime_ns // _NANO
    major, minor = header.device
    front = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        *(_fixed(name), header.mode & 0o7777, uid, gid),
        size if size <= _LARGEST_SIZE else 0,
        seconds if 0 <= seconds <= _LARGEST_SIZE else 0,
    )
    back = b"%b%bustar\00000%b%07o\0%07o\0%b" % (
        *(kind, _fixed(header.link), bytes(64), major, minor, bytes(155 + 12)),
    )
    checksum = (sum(front) + sum(back) + 8 * ord(" ")) & 0o777777
    return b"%b%06o\0 %b" % (front, checksum, back)


def _fixed(name: bytes) -> bytes:
    return name[:_LONGEST_NAME].ljust(_LONGEST_NAME, b"\0")
