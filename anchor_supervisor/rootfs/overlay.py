"""The overlay strategy: read-only layers beneath, a writable directory of the container above.

The layers are idmapped, so they stay owned by the image's own ids on disk. The upper directory is
not, and has the machine's numbers of the container's ids: overlayfs makes files there with the ids
of whoever made them, and through a mapping the mounter itself would have none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError, ImageError, KernelError
from anchor_supervisor.kernel import libc, mount
from anchor_supervisor.kernel.apart import in_own_namespace
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.values import frozen

Option = tuple[str, str | int | None]

MOST_LAYERS: Final = 500
"""OVL_MAX_STACK: overlayfs takes no more, whatever way they are given."""

# What decides how a layer is read must come from us: a layer's own redirects and metacopy marks
# are not followed.
OPTIONS: Final[tuple[Option, ...]] = (
    ("redirect_dir", "nofollow"),
    ("index", "off"),
    ("metacopy", "off"),
)
VOLATILE: Final[Option] = ("volatile", None)
"""A writable layer never outlives the boot, so it need not be synced."""

OPAQUE: Final = "trusted.overlay.opaque"
UNWRITTEN: Final = (
    "upper/",
    "work/work/incompat/volatile/dirty",  # the mark of a volatile overlay (overlayfs.rst)
    "work/work/incompat/volatile/",
    "work/work/incompat/",
    "work/work/",
    "work/",
)
"""What is in the directory of an instance that has written nothing, as `removal` wants it."""

_UNFINISHED: Final = ".upper-new"
# Linux before 6.13 takes no descriptors (EOPNOTSUPP before 6.5, then EINVAL), 6.13 none that are
# O_PATH (EBADF), and before 6.15 no detached layers (EINVAL).
_NOT_BY_DESCRIPTOR: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@final
@frozen
class _Above:
    """What is above the layers: the directory of an instance, and its two."""

    directory: int
    upper: int
    work: int


def assemble_overlay(
    layers: Sequence[Path],
    writable: Path,
    ids: IdRange | None,
    user_namespace: int | None,
    skeleton: Path | None = None,
    opened: Descriptors | None = None,
) -> int:
    """Make a detached overlay of `layers`, the uppermost first, over `writable`/upper.

    `skeleton`, beneath them all, has what they lack of what is always mounted on (see `skeleton`).
    `opened` takes what is not needed any more then, to be closed once there is time: the last close
    of a detached mount waits for an RCU grace period. Raises HostError where a layer cannot be
    idmapped or `writable` cannot be an upper layer, and ImageError for more layers than overlayfs
    takes.
    """
    if opened is None:
        with Descriptors() as opened:
            return assemble_overlay(layers, writable, ids, user_namespace, skeleton, opened)
    beneath = () if skeleton is None else (skeleton,)
    lowers = _clones((*layers, *beneath), user_namespace, opened)
    top = os.stat(layers[0])
    owner = _outside(top.st_uid, ids), _outside(top.st_gid, ids)
    above = _open_above(writable, owner, top.st_mode & 0o7777, opened)
    return _mount(lowers, above, f"`{writable}` or the image")


def merge_layers(layers: Sequence[Path], user_namespace: int | None) -> int:
    """Make a detached, read-only overlay of `layers`, the uppermost first, and nothing above them.

    A single one lies over an empty directory, for what it marks as removed not to be seen.
    Raises as `assemble_overlay`.
    """
    with Descriptors() as opened:
        lowers = _clones(layers, user_namespace, opened)
        if len(lowers) == 1:  # overlayfs.rst: without an upper layer there must be two lower ones
            lowers.append(opened.add(mount.new_filesystem("tmpfs", (("mode", "755"),))))
        return _mount(lowers, None, "the image")


def visible(layers: Sequence[Path]) -> tuple[Path, ...]:
    """The layers of which anything is seen, each once, where it is uppermost.

    Images do have a layer twice, an empty one above all, and overlayfs takes none twice (ELOOP).
    Nor does it look whether the root of a layer hides all that is beneath.
    """
    found: dict[Path, None] = {}
    for beneath, layer in zip(range(len(layers) - 1, -1, -1), layers, strict=True):
        found[layer] = None
        if beneath and _hides_the_rest(layer):
            break
    return tuple(found)


def _hides_the_rest(layer: Path) -> bool:
    try:
        return os.getxattr(layer, OPAQUE) == b"y"
    except OSError:  # no such mark, or no such layer, which whoever opens it will tell
        return False


def _clones(layers: Sequence[Path], user_namespace: int | None, opened: Descriptors) -> list[int]:
    once = visible(layers)
    if len(once) > MOST_LAYERS:
        message = f"the image has {len(once)} layers, and overlayfs takes {MOST_LAYERS}"
        raise ImageError(message, hint="build it anew with fewer steps")
    return [opened.add(clone_mapped(layer, user_namespace)) for layer in once]


def _outside(number: int, ids: IdRange | None) -> int:
    """The machine's number for an id of the image; one that the container lacks is its root's."""
    if ids is None:
        return number
    return ids.first + (number if number < ids.count else 0)


def _open_above(writable: Path, owner: tuple[int, int], mode: int, opened: Descriptors) -> _Above:
    """Open `writable`, `upper`, made where it is not there, and `work`, made anew.

    `owner` and `mode` become the root's.
    """
    new = libc.Result(0)
    calls: list[libc.Call] = [
        ("openat", libc.AT_FDCWD, libc.path_bytes(writable), DIRECTORY_FLAGS, 0),
        ("mkdirat", new, b"work", 0o700),  # first: it is there where this is not the first time
        *_making_upper(new, owner, mode),
        ("openat", new, b"upper", DIRECTORY_FLAGS, 0),
        ("openat", new, b"work", DIRECTORY_FLAGS, 0),
    ]
    try:
        made = libc.perform(calls, "make the directories of an overlay")
    except KernelError:
        directory = opened.add(_open_writable(writable))
        _make_directories(directory, owner, mode)
        both = (os.open(name, DIRECTORY_FLAGS, dir_fd=directory) for name in ("upper", "work"))
        return _Above(directory, *map(opened.add, both))
    return _Above(*(opened.add(made[place]) for place in (0, -2, -1)))


def _make_directories(directory: int, owner: tuple[int, int], mode: int) -> None:
    """Make `upper`, whose attributes become the root's, where it is not there, and `work` anew."""
    try:
        libc.perform(_directories(directory, owner, mode), "make the directories of an overlay")
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        # A volatile overlay leaves a mark that forbids its next mount (overlayfs.rst).
        for left in (_UNFINISHED, "work"):
            remove_beneath(directory, left)
        libc.perform(_directories(directory, owner, mode), "make the directories of an overlay")


def _directories(directory: int, owner: tuple[int, int], mode: int) -> list[libc.Call]:
    work: libc.Call = ("mkdirat", directory, b"work", 0o700)
    with contextlib.suppress(FileNotFoundError):
        os.stat("upper", dir_fd=directory)
        return [work]
    return [*_making_upper(directory, owner, mode), work]


def _making_upper(
    directory: int | libc.Result, owner: tuple[int, int], mode: int
) -> list[libc.Call]:
    aside = _UNFINISHED.encode()  # and renamed, so that one with the wrong owner is never found
    return [
        ("mkdirat", directory, aside, 0o700),
        ("fchownat", directory, aside, *owner, 0),
        ("fchmodat", directory, aside, mode),
        ("renameat2", directory, aside, directory, b"upper", 0),
    ]


def _open_writable(writable: Path) -> int:
    try:
        return os.open(writable, DIRECTORY_FLAGS)
    except FileNotFoundError:
        make_private(writable)
        return os.open(writable, DIRECTORY_FLAGS)


def _mount(lowers: Sequence[int], above: _Above | None, words: str) -> int:
    """Mount the layers beneath a writable one, or alone; `words` say what may not fit."""
    try:
        return _mount_by_descriptor(lowers, above)
    except KernelError as error:
        if error.errno not in _NOT_BY_DESCRIPTOR:
            raise
    try:
        return _mount_by_path(lowers, above)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        message = f"{error.message}: {words} cannot be part of an overlay"
        raise HostError(
            message,
            hint="keep ANCHOR_RUN_DIR and ANCHOR_DATA_DIR on ext4, xfs, btrfs or tmpfs",
        ) from error


def _attributes(*, writable: bool) -> int:
    return mount.MOUNT_ATTR_NODEV | (0 if writable else mount.MOUNT_ATTR_RDONLY)


def _mount_by_descriptor(lowers: Sequence[int], above: _Above | None) -> int:
    """Linux 6.15: layers are descriptors, and are never attached anywhere."""
    options: list[Option] = [("lowerdir+", lower) for lower in lowers]
    if above is not None:
        options += [("upperdir", above.upper), ("workdir", above.work), VOLATILE]
    attributes = _attributes(writable=above is not None)
    return mount.new_filesystem("overlay", [*options, *OPTIONS], attributes)


def _mount_by_path(lowers: Sequence[int], writable: _Above | None) -> int:
    """Older: attach the layers, since overlayfs clones only what is in its caller's namespace.

    That is one of their own, so nobody sees them. A string of fsconfig(2) ends at 255 bytes, and
    the options of mount(2) at 4 KiB: names of two letters let 500 layers fit.
    """
    with Descriptors() as opened:
        above = None
        if writable is not None:  # here, in the namespace that `writable` is in
            above = opened.add(mount.clone_tree(writable.directory))
        return in_own_namespace(lambda: _mount_attached(lowers, above))


def _mount_attached(lowers: Sequence[int], above: int | None) -> int:
    """Attach everything in the working directory, mount the overlay there, and clone that."""
    names = [_short(number) for number in range(len(lowers))]
    for name, lower in zip(names, lowers, strict=True):
        _attach(lower, name)
    options: list[Option] = [("lowerdir", ":".join(names)), *OPTIONS]
    if above is not None:
        _attach(above, "above")
        options += [("upperdir", "above/upper"), ("workdir", "above/work"), VOLATILE]
    Path("whole").mkdir()
    mount.mount_on("whole", "overlay", _joined(options), _attributes(writable=above is not None))
    return mount.clone_tree("whole")


def _attach(tree: int, name: str) -> None:
    Path(name).mkdir()
    mount.attach(tree, name)


def _short(number: int) -> str:
    """A name of one or two letters for any number below 1,296."""
    above, below = divmod(number, len(_DIGITS))
    return (_DIGITS[above] if above else "") + _DIGITS[below]


def _joined(options: Sequence[Option]) -> str:
    return ",".join(key if value is None else f"{key}={value}" for key, value in options)
