"""The overlay strategy: read-only layers beneath, a writable directory of the container above.

The layers are idmapped, so they stay owned by the image's own ids on disk. The upper directory is
not, and belongs to the container's root: overlayfs makes files there with the ids of whoever made
them, and through a mapping the mounter itself would have none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath

Option = tuple[str, str | int | None]

# A writable layer never outlives the boot, so it need not be synced. What decides how a layer is
# read must come from us: a layer's own redirects and metacopy marks are not followed.
OPTIONS: Final[tuple[Option, ...]] = (
    ("volatile", None),
    ("redirect_dir", "nofollow"),
    ("index", "off"),
    ("metacopy", "off"),
)
LONGEST_OPTION: Final = 255  # bytes of a string that fsconfig(2) takes
_UNFINISHED: Final = ".upper-new"
# Linux before 6.13 takes no descriptors (EOPNOTSUPP before 6.5, then EINVAL), 6.13 none that are
# O_PATH (EBADF), and before 6.15 no detached layers (EINVAL).
_NOT_BY_DESCRIPTOR: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


def assemble_overlay(
    layers: Sequence[Path], writable: Path, ids: IdRange | None, user_namespace: int | None
) -> int:
    """Make a detached overlay of `layers`, the uppermost first, over `writable`/upper.

    Raises HostError where a layer cannot be idmapped or `writable` cannot be an upper layer.
    """
    make_private(writable)
    with contextlib.ExitStack() as stack:
        lowers = []
        for layer in layers:
            lowers.append(clone_mapped(layer, user_namespace))
            stack.callback(os.close, lowers[-1])
        mode = os.stat(layers[0]).st_mode & 0o7777
        directory = os.open(writable, DIRECTORY_FLAGS)
        stack.callback(os.close, directory)
        _make_upper(directory, owner=0 if ids is None else ids.first, mode=mode)
        # A volatile overlay leaves a mark that forbids its next mount (overlayfs.rst).
        remove_beneath(directory, "work")
        os.mkdir("work", 0o700, dir_fd=directory)
        upper = _open_directory("upper", stack, beneath=directory)
        work = _open_directory("work", stack, beneath=directory)
        try:
            return _mount_by_descriptor(lowers, upper, work)
        except KernelError as error:
            if error.errno not in _NOT_BY_DESCRIPTOR:
                raise
        try:
            return _mount_by_path(lowers, upper, work, writable)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
            message = f"{error.message}: `{writable}` or the image cannot be part of an overlay"
            raise HostError(
                message,
                hint="keep ANCHOR_RUN_DIR and ANCHOR_DATA_DIR on ext4, xfs, btrfs or tmpfs",
            ) from error


def _open_directory(name: str, stack: contextlib.ExitStack, *, beneath: int) -> int:
    directory = os.open(name, DIRECTORY_FLAGS, dir_fd=beneath)
    stack.callback(os.close, directory)
    return directory


def _make_upper(directory: int, *, owner: int, mode: int) -> None:
    """Make the upper directory, whose attributes become the root's; one that is there is kept.

    Made aside and renamed, so that one with the wrong owner is never found.
    """
    with contextlib.suppress(FileNotFoundError):
        os.stat("upper", dir_fd=directory)
        return
    remove_beneath(directory, _UNFINISHED)
    os.mkdir(_UNFINISHED, 0o700, dir_fd=directory)
    os.chown(_UNFINISHED, owner, owner, dir_fd=directory)
    os.chmod(_UNFINISHED, mode, dir_fd=directory)
    os.rename(_UNFINISHED, "upper", src_dir_fd=directory, dst_dir_fd=directory)


def _mount_by_descriptor(lowers: Sequence[int], upper: int, work: int) -> int:
    """Linux 6.15: layers are descriptors, and are never attached anywhere."""
    layers: list[Option] = [("lowerdir+", lower) for lower in lowers]
    return _mount([*layers, ("upperdir", upper), ("workdir", work)])


def _mount_by_path(lowers: Sequence[int], upper: int, work: int, writable: Path) -> int:
    """Older: attach the layers for a moment, since overlayfs clones only what is in our namespace.

    /proc/self/fd makes paths that are short and mean the descriptor, whatever is renamed.
    """
    with contextlib.ExitStack() as stack:
        for number, lower in enumerate(lowers):
            place = writable / "lower" / str(number)
            make_private(place)
            mount.attach(lower, place)
            stack.callback(mount.unmount, place)
        paths = [f"/proc/self/fd/{lower}" for lower in lowers]
        joined = ":".join(paths)
        layers: list[Option] = [("lowerdir", joined)]
        if len(joined) > LONGEST_OPTION:
            layers = [("lowerdir+", path) for path in paths]  # Linux 6.8
        above: list[Option] = [
            ("upperdir", f"/proc/self/fd/{upper}"),
            ("workdir", f"/proc/self/fd/{work}"),
        ]
        return _mount([*layers, *above])


def _mount(layers: Sequence[Option]) -> int:
    return mount.new_filesystem("overlay", [*layers, *OPTIONS], mount.MOUNT_ATTR_NODEV)
