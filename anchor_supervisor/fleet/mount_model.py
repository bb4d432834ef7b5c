"""What is put into a container's root, as frozen values: volumes, secrets and configs."""

from __future__ import annotations

import enum
from typing import final

from anchor_supervisor.values import field, frozen


class VolumeKind(enum.StrEnum):
    """Where a volume's content lives; an anonymous one's until its fleet is down."""

    NAMED = "named"
    ANONYMOUS = "anonymous"
    BIND = "bind"
    TMPFS = "tmpfs"


class Propagation(enum.StrEnum):
    """Whether the container sees what is mounted beneath a bind's source after its start."""

    PRIVATE = "private"
    SLAVE = "slave"


@final
@frozen
class Volume:
    """One entry of `volumes`. `source`: name, absolute host path, or None.

    `size` in bytes, `mode`, `uid` and `gid` (as the container numbers them) are for tmpfs only,
    `propagation` for binds. `copy`: a new volume begins with what the image has at the target.
    `subpath` is relative to the volume's root. `content` is the digest of a mounted file, or of
    the files in a read-only directory, when the fleet was completed.
    """

    kind: VolumeKind
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    noexec: bool = False
    nosuid: bool = False
    nodev: bool = False
    copy: bool = True
    subpath: str | None = None
    propagation: Propagation = Propagation.PRIVATE
    content: str | None = None


class GrantKind(enum.StrEnum):
    """A secret is never shown; a config is like it, and nothing to hide."""

    SECRET = "secret"  # noqa: S105 - a word
    CONFIG = "config"


@final
@frozen
class Grant:
    """One secret or config in one container: a file at `target`, on memory of the container's own.

    `owner` is USER or USER:GROUP, looked up inside the root; None: the container's own user.
    """

    kind: GrantKind
    name: str
    target: str
    content: bytes = field(repr=False)
    mode: int = 0o400
    owner: str | None = None
