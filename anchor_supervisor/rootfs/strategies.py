"""How a container gets a root of its own from an image: one signature, several strategies.

overlay   the layers stay as they are, changes go to an upper directory (copy-on-write)
copy      the whole tree is copied once
reflink   as copy, but the files share their blocks with the image's (btrfs, xfs)
bind      the image itself, shared and read-only

Whatever the strategy, the result is a detached mount, idmapped so that the image's root is the
container's root, and without device nodes. What the container wrote stays in `writable` until
`removal.remove_writable`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anchor_supervisor.errors import AnchorError, HostError, ImageError, KernelError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.overlay import assemble_overlay, merge_layers, visible
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath, remove_writable

if TYPE_CHECKING:
    from anchor_supervisor.rootfs.tree_copy import Content

_UNFINISHED: Final = ".root-new"


def assemble(
    strategy: RootStrategy,
    layers: Layers,
    writable: Path,
    *,
    ids: IdRange | None,
    user_namespace: int | None,
    read_only: bool = False,
    fresh: bool = False,
    skeleton: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    opened: Descriptors | None = None,
) -> int:
    """Return a detached mount of the container's root; the caller closes it.

    `writable` is this instance's own directory, made where missing; a second call after the first
    container has ended finds there what it wrote. `ids` and `user_namespace` are both given or
    both None. `read_only` roots are still writable here, for mount points to be made in them: the
    plan's last step takes that away. Only `bind` is read-only from the start. `fresh` throws away
    what was written before. `skeleton` is what `make_skeleton` has made. `cancelled` is asked now
    and then while a tree is copied. `opened` is as in `assemble_overlay`.
    Raises HostError where this machine cannot do it, and says what can be done instead.
    """
    if fresh:
        _forget(writable)
    match strategy:
        case RootStrategy.OVERLAY:
            # The machine's root has everything, and may be of another file system: one of several
            # makes overlayfs show files' numbers that are no file system's (overlayfs.rst, inodes).
            beneath = None if layers.host else skeleton
            return assemble_overlay(layers.paths, writable, ids, user_namespace, beneath, opened)
        case RootStrategy.COPY | RootStrategy.REFLINK:
            _refuse_whole_machine(strategy, layers)
            return _assemble_copy(strategy, layers, writable, user_namespace, cancelled)
        case RootStrategy.BIND:
            return merged(layers, user_namespace=user_namespace)


def merged(layers: Layers, *, user_namespace: int | None = None) -> int:
    """Return a detached, read-only mount of all layers as one tree; the caller closes it.

    What an upper layer takes away is not there, and there are no devices. `user_namespace` None:
    ids are as on disk. What is mounted beneath a layer is left out. Raises HostError where a layer
    cannot be idmapped or be part of an overlay, ImageError for more than 500 layers.
    """
    if len(layers.paths) == 1 and not layers.marked:
        attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV
        return clone_mapped(layers.paths[0], user_namespace, attributes)
    return merge_layers(layers.paths, user_namespace)


def require_mount_points(root: int, points: Iterable[tuple[str, bool]]) -> None:
    """Check that a root that cannot be written to has every mount point (see `plan.mount_points`).

    Raises ImageError that names the first missing one.
    """
    for target, directory in points:
        kind = os.O_DIRECTORY if directory else 0
        try:
            os.close(mount.open_beneath(root, target.lstrip("/"), os.O_PATH | os.O_CLOEXEC | kind))
        except OSError as error:
            what = "directory" if directory else "file"
            message = (
                f"the image has no {what} `{target}` to mount on: {os.strerror(error.errno or 0)}"
            )
            raise ImageError(
                message,
                hint=f'make an empty one in the image, or `root = "{RootStrategy.OVERLAY}"`',
            ) from error


def _refuse_whole_machine(strategy: RootStrategy, layers: Layers) -> None:
    if layers.host:
        message = f"root strategy `{strategy}` with image `host` would copy the whole machine"
        hint = f'root = "{RootStrategy.OVERLAY}", which copies only what is changed'
        raise HostError(message, hint=hint)


def _forget(writable: Path) -> None:
    """Remove every strategy's writable directory; what is beside them is not the root's."""
    for name in ("upper", "root"):
        remove_writable(writable / name)


def _assemble_copy(
    strategy: RootStrategy,
    layers: Layers,
    writable: Path,
    user_namespace: int | None,
    cancelled: Callable[[], bool],
) -> int:
    make_private(writable)
    copy = writable / "root"
    if not copy.is_dir():
        _copy_aside(layers, writable, copy.name, _content(strategy), cancelled)
    return clone_mapped(copy, user_namespace, mount.MOUNT_ATTR_NODEV)


def _content(strategy: RootStrategy) -> Content:
    from anchor_supervisor.rootfs import reflink, tree_copy  # most roots are not copied

    return reflink.share_content if strategy is RootStrategy.REFLINK else tree_copy.copy_content


def _copy_aside(
    layers: Layers, writable: Path, name: str, content: Content, cancelled: Callable[[], bool]
) -> None:
    """Copy under another name and rename: a copy that was cut short is never taken for a root."""
    from anchor_supervisor.rootfs.tree_copy import copy_layers

    with contextlib.ExitStack() as stack:
        parent = os.open(writable, DIRECTORY_FLAGS)
        stack.callback(os.close, parent)
        trees = [_open_layer(path, stack) for path in visible(layers.paths)]
        remove_beneath(parent, _UNFINISHED)
        os.mkdir(_UNFINISHED, 0o700, dir_fd=parent)
        target = os.open(_UNFINISHED, DIRECTORY_FLAGS, dir_fd=parent)
        stack.callback(os.close, target)
        try:
            copy_layers(trees, target, content=content, cancelled=cancelled)
        except BaseException as error:
            remove_beneath(parent, _UNFINISHED)
            if isinstance(error, OSError) and not isinstance(error, AnchorError):
                raise KernelError(error.errno or 0, "copy image", str(layers.paths[0])) from error
            raise
        os.rename(_UNFINISHED, name, src_dir_fd=parent, dst_dir_fd=parent)


def _open_layer(path: Path, stack: contextlib.ExitStack) -> int:
    """A clone of the one mount shows what is beneath the mounts on it, and never those."""
    clone = mount.clone_tree(path)
    stack.callback(os.close, clone)
    tree = os.open(".", DIRECTORY_FLAGS, dir_fd=clone)
    stack.callback(os.close, tree)
    return tree
