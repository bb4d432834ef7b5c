"""Everything that a container sees besides its root, opened for one start: a complete `View`.

What is opened belongs to the caller's stack; after the spawn the stack can be closed, since the
container holds its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from anchor_supervisor.fleet.model import Container, ImageKind, NetworkMode, RootStrategy
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.devices import clone_device, clone_devices
from anchor_supervisor.rootfs.grants import GrantFiles
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.plan import DEVICES, MountedVolume, View, mount_points, root_steps
from anchor_supervisor.rootfs.strategies import require_mount_points
from anchor_supervisor.rootfs.volumes import prepare

_INERT: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_SEEN_ONLY: Final = _INERT | mount.MOUNT_ATTR_RDONLY


def open_view(
    container: Container,
    root: int,
    *,
    fleet: str,
    data: Path,
    etc: Mapping[str, Path],
    hidden: tuple[str, ...],
    grants: GrantFiles | None = None,
    user_namespace: int | None,
    owner: tuple[int, int] = (0, 0),
    writable: Path | None = None,
    layers: Layers | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    stack: contextlib.ExitStack,
) -> View:
    """Open all of it; every new descriptor in the result is closed by `stack`.

    `root` is what `strategies.assemble` gave, and stays the caller's. `etc` maps targets such as
    `/etc/hosts` to the files of `files.write_files`, which the container sees read-only: they are
    the supervisor's to change, and a container must not fill the run directory through them.
    `grants` are the secrets and configs of this one start. `owner` is the container's user and
    group, to whom a new volume belongs where the image, found by its `layers`, has nothing at the
    target. `writable` is the instance's directory, where its anonymous volumes live. `cancelled`
    is asked now and then while a new volume is filled.
    `hidden` are directories of the supervisor that image `host` would show; they are masked there.
    Raises HostError, ImageError or FleetError, each naming what is wrong.
    """
    view = View(
        root=root,
        null=clone_device("null", stack),
        devices=clone_devices(DEVICES, stack),
        volumes=tuple(
            _opened(
                prepare(
                    volume,
                    data=data,
                    fleet=fleet,
                    user_namespace=user_namespace,
                    owner=owner,
                    writable=writable,
                    layers=layers,
                    cancelled=cancelled,
                ),
                stack,
            )
            for volume in container.volumes
        ),
        etc={target: _clone(path, stack) for target, path in etc.items()},
        grants=() if grants is None else grants.mounts(stack),
        sysfs=_machine_sysfs(container, stack),
        read_only=container.read_only,
        masked_paths=container.masked_paths,
        hidden=hidden if container.image.kind is ImageKind.HOST else (),
        sysctls=container.sysctls,
        processors=os.sysconf("SC_NPROCESSORS_CONF"),
    )
    if container.root is RootStrategy.BIND:
        require_mount_points(root, mount_points(root_steps(view)))
    return view


def _opened(mounted: MountedVolume, stack: contextlib.ExitStack) -> MountedVolume:
    if mounted.fd is not None:
        stack.callback(os.close, mounted.fd)
    return mounted


def _clone(path: Path, stack: contextlib.ExitStack) -> int:
    """Clone a file of ours, or the machine's sysfs: to be seen by a container, never written."""
    clone = mount.clone_tree(path, attributes=_SEEN_ONLY)
    stack.callback(os.close, clone)
    return clone


def _machine_sysfs(container: Container, stack: contextlib.ExitStack) -> int | None:
    """On the machine's network only the machine's own sysfs will do, without its submounts."""
    if container.network_mode is not NetworkMode.HOST:
        return None
    return _clone(Path("/sys"), stack)
