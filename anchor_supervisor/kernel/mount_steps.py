"""The steps of `steps.py` that make what a container sees: file systems, mount points, masks.

Where a step takes a file descriptor, a `Slot` may stand instead: the number of a descriptor that
an earlier step of the same list has made in the child; or a `Given`: the place of a descriptor that
is handed to `spawn` beside the list, so that one list serves many starts. Paths are resolved by C
beneath the process's root at that moment, with no magic links followed.
"""

from __future__ import annotations

import os
from typing import ClassVar, final

from anchor_supervisor.values import frozen

Encoded = tuple[int, tuple[int, ...], tuple[bytes, ...]]
"""Operation, integers, strings: an agreement with `_steps.c`."""

SLOTS = 32


@final
@frozen
class Slot:
    """A descriptor that lives only in the child: 0 to SLOTS - 1."""

    number: int

    def __attrs_post_init__(self) -> None:
        """Raise ValueError where there is no such slot."""
        if not 0 <= self.number < SLOTS:
            message = f"slot `{self.number}` is not between 0 and {SLOTS - 1}"
            raise ValueError(message)


@final
@frozen
class Given:
    """The descriptor at this place among those that `spawn` is given."""

    place: int


Descriptor = int | Slot | Given


def encode_descriptor(value: Descriptor) -> int:
    """Give it to C: -2 is slot 0 (-1 stays free for `none`); after the slots come the places."""
    if isinstance(value, int):
        return value
    return -2 - (value.number if isinstance(value, Slot) else SLOTS + value.place)


@final
@frozen
class OpenFilesystem:
    """fsopen, fsconfig, fsmount: a new, detached file system in `slot`.

    `options` are `(key, value)`; value None sets a flag. `attributes` are MOUNT_ATTR_*.
    """

    slot: Slot
    fstype: str
    options: tuple[tuple[str, str | None], ...] = ()
    attributes: int = 0
    operation: ClassVar[int] = 6

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        given = ",".join(key if value is None else f"{key}={value}" for key, value in self.options)
        return f"make a new {self.fstype}" + (f" ({given})" if given else "")

    def encode(self) -> Encoded:
        """Give it to C: strings are the type, then key and value in turn, b'' for no value."""
        flat = [self.fstype.encode()]
        for key, value in self.options:
            flat += [key.encode(), b"" if value is None else value.encode()]
        kinds = tuple(int(value is not None) for _, value in self.options)
        return self.operation, (encode_descriptor(self.slot), self.attributes, *kinds), tuple(flat)


@final
@frozen
class EnterRoot:
    """Make the detached mount `fd` the root, and let every older mount go.

    move_mount onto `staging` (a directory of the old root), pivot_root(".", "."), lazy unmount
    of the old root, chdir("/"). From here on no path leads to the host.
    """

    fd: Descriptor
    staging: str = "/"
    operation: ClassVar[int] = 7

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return "make the prepared root the only root"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (encode_descriptor(self.fd),), (os.fsencode(self.staging),)


@final
@frozen
class Attach:
    """move_mount the detached mount `fd` onto `target`, making the mount point where missing.

    `directory` says which kind of mount point is made. Nothing on the way may be a symbolic link
    that leads outside the root; the last component may not be one at all where `strict`.
    """

    fd: Descriptor
    target: str
    words: str
    directory: bool = True
    strict: bool = False
    operation: ClassVar[int] = 8

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"mount {self.words} on `{self.target}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (encode_descriptor(self.fd), int(self.directory), int(self.strict)),
            (os.fsencode(self.target),),
        )


@final
@frozen
class MakeDirectory:
    """mkdir, with its parents; one that exists is left as it is."""

    path: str
    mode: int = 0o755
    operation: ClassVar[int] = 9

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"make the directory `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (self.mode,), (os.fsencode(self.path),)


@final
@frozen
class MakeSymlink:
    """symlink(2) `path` -> `target`; `path` must not exist."""

    path: str
    target: str
    operation: ClassVar[int] = 10

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"link `{self.path}` to `{self.target}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (), (os.fsencode(self.path), os.fsencode(self.target))


@final
@frozen
class WriteBeneath:
    """Write `value` to `path` beneath the descriptor `fd`: sysctls, through our own /proc."""

    fd: Descriptor
    path: str
    value: str
    operation: ClassVar[int] = 11

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"write `{self.value}` to `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (encode_descriptor(self.fd),),
            (os.fsencode(self.path), self.value.encode()),
        )


@final
@frozen
class MakeReadOnly:
    """Bind `path` onto itself read-only; with `remount`, set the mount that is there read-only.

    A path that does not exist is passed over.
    """

    path: str
    remount: bool = False
    operation: ClassVar[int] = 12

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"make `{self.path}` read-only"

    def encode(self) -> Encoded:
        """Give it to C."""
        return self.operation, (int(self.remount),), (os.fsencode(self.path),)


@final
@frozen
class Mask:
    """Hide `path`: a directory under `empty`, a file under `null`; a missing one is passed over.

    Both are detached mounts of nobody else's. The first path that each hides takes it, the others
    its clones.
    """

    path: str
    empty: Descriptor
    null: Descriptor
    operation: ClassVar[int] = 13

    def describe(self) -> str:
        """Say it for `--plan` and for errors."""
        return f"mask `{self.path}`"

    def encode(self) -> Encoded:
        """Give it to C."""
        return (
            self.operation,
            (encode_descriptor(self.empty), encode_descriptor(self.null)),
            (os.fsencode(self.path),),
        )
