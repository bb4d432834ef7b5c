"""Who a container's process is: names and numbers of `user = ...`, looked up inside its root.

/etc/passwd and /etc/group are the image's, so hostile: they are opened beneath the root, must be
plain files, are read up to a bound, and a number in them is believed only where it is written
as a number is (CVE-2024-40635, CVE-2026-30892). No NSS module is ever loaded.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import frozen

PASSWD: Final = "etc/passwd"  # noqa: S105 - a file name
GROUP: Final = "etc/group"
LARGEST_FILE: Final = 1 << 20  # bytes; a thousand users take about 60 KiB
LARGEST_ID: Final = 2**32 - 2  # 2**32 - 1 is (uid_t) -1, `do not change` (setresuid(2))
MOST_GROUPS: Final = 65536  # NGROUPS_MAX (setgroups(2))

_NUMBER: Final = pattern(r"0|[1-9][0-9]{0,9}", re.ASCII)
_NAME: Final = pattern(r"[A-Za-z_][A-Za-z0-9_.@-]{0,254}\$?", re.ASCII)


@final
@frozen
class Credentials:
    """Ids as the container numbers them. `name` is None for a number that /etc/passwd lacks."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str | None


@final
@frozen
class _User:
    name: str
    uid: int
    gid: int
    home: str


@final
@frozen
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def lookup(root_fd: int, user: str | None, *, id_count: int = LARGEST_ID + 1) -> Credentials:
    """Resolve `name`, `uid`, `name:group` or `uid:gid`; None is root.

    A bare user gets the group of its /etc/passwd line and every group that lists it; a user with
    an explicit group gets that one alone, as docker has it. A number that no line knows has group 0
    and home `/`. `id_count` is how many ids the container has: 65,536 in a user namespace.
    Raises ImageError for what is not there, not well-formed, or out of range.
    """
    wanted, explicit_group = _split("0" if user is None else user)
    found = _find_user(_users(root_fd, wanted), wanted)
    if explicit_group is None:
        gid = found.gid
        supplementary = _memberships(root_fd, found.name) if found.name else ()
    else:
        gid = _find_group(_groups(root_fd, explicit_group), explicit_group)
        supplementary = ()
    for number in (found.uid, gid, *supplementary):
        if number >= id_count:
            message = f"user `{user}`: id {number} is not among the container's {id_count} ids"
            raise ImageError(
                message,
                hint='a smaller id, or `user_namespace = "host"`',
            )
    return Credentials(found.uid, gid, supplementary, found.home or "/", found.name or None)


def _split(text: str) -> tuple[str, str | None]:
    """Cut at the one colon. An empty half is refused: `1000:` and `:0` meant root elsewhere."""
    parts = text.split(":")
    if len(parts) > 2 or not all(
        _NUMBER.fullmatch(part) or _NAME.fullmatch(part) for part in parts
    ):
        message = f"`{text}` is not a user"
        raise ImageError(message, hint="a name or a number, with `:group` after it if need be")
    return parts[0], parts[1] if len(parts) == 2 else None


def _number(text: str) -> int | None:
    """Read a plain decimal id; None for anything else, -1 and 4294967295 among it."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value <= LARGEST_ID else None


def _find_user(users: Iterator[_User], wanted: str) -> _User:
    """Search by name first, then by number: a user may be called `1000` only in a hostile file."""
    if _NUMBER.fullmatch(wanted):
        uid = _number(wanted)
        if uid is None:
            message = f"user id `{wanted}` is larger than {LARGEST_ID}"
            raise ImageError(message)
        return next((user for user in users if user.uid == uid), _User("", uid, 0, "/"))
    for user in users:
        if user.name == wanted:
            return user
    message = f"no user `{wanted}` in the image's /etc/passwd"
    raise ImageError(message, hint="numbers work without an entry")


def _find_group(groups: Iterator[_Group], wanted: str) -> int:
    if _NUMBER.fullmatch(wanted):
        gid = _number(wanted)
        if gid is None:
            message = f"group id `{wanted}` is larger than {LARGEST_ID}"
            raise ImageError(message)
        return gid
    for group in groups:
        if group.name == wanted:
            return group.gid
    message = f"no group `{wanted}` in the image's /etc/group"
    raise ImageError(message, hint="numbers work without an entry")


def _memberships(root_fd: int, name: str) -> tuple[int, ...]:
    """Every group that lists `name`, each once, in file order; setgroups takes MOST_GROUPS."""
    groups = _groups(root_fd, name)
    gids = dict.fromkeys(group.gid for group in groups if name in group.members)
    return tuple(gids)[:MOST_GROUPS]


def _users(root_fd: int, wanted: str) -> Iterator[_User]:
    """Read the well-formed lines of /etc/passwd (passwd(5)) in which `wanted` occurs."""
    for fields in _lines(root_fd, PASSWD, 7, wanted):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and _NAME.fullmatch(fields[0]):
            home = fields[5] if fields[5].startswith("/") and "\0" not in fields[5] else "/"
            yield _User(fields[0], uid, gid, home)


def _groups(root_fd: int, wanted: str) -> Iterator[_Group]:
    """Read the well-formed lines of /etc/group (group(5)) in which `wanted` occurs."""
    for fields in _lines(root_fd, GROUP, 4, wanted):
        gid = _number(fields[2])
        if gid is not None and _NAME.fullmatch(fields[0]):
            yield _Group(fields[0], gid, tuple(fields[3].split(",")))


def _lines(root_fd: int, path: str, fields: int, wanted: str) -> Iterator[list[str]]:
    """Cut only the lines in which `wanted` occurs: a start waits for this."""
    text = _read(root_fd, path)
    for line in text.split("\n"):
        parts = line.split(":") if wanted in line else ()
        if len(parts) == fields:
            yield list(parts)


def _read(root_fd: int, path: str) -> str:
    """Read a plain file beneath the root; one that is missing is empty.

    First an O_PATH handle, then a look at what it is, then the open: opening a FIFO or a device
    that stands there instead would block, or do what the device does when opened.
    """
    try:
        handle = open_beneath(root_fd, path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return ""
        words = os.strerror(error.errno or 0)
        message = f"the image's `/{path}` cannot be opened: {words}"
        raise ImageError(message) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            message = f"the image's `/{path}` is not a plain file"
            raise ImageError(message)
        content = _content(handle, min(status.st_size, LARGEST_FILE) + 1)
    finally:
        os.close(handle)
    if len(content) > LARGEST_FILE:
        message = f"the image's `/{path}` is larger than {LARGEST_FILE} bytes"
        raise ImageError(message)
    return content.decode("utf-8", "surrogateescape")


def _content(handle: int, most: int) -> bytes:
    file = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, most)
    finally:
        os.close(file)
