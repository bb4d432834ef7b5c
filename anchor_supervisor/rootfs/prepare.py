"""Everything a start needs beneath its feet, prepared in one go: root, devices, volumes, files.

The only file of this room that puts the others together. What it opens belongs to the caller's
stack; after the spawn the stack can be closed, since the container holds its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from attrs import frozen

from anchor_supervisor.fleet.model import Container, NetworkMode, RootStrategy
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.devices import clone_device, clone_devices
from anchor_supervisor.rootfs.images import Layers
from anchor_supervisor.rootfs.plan import DEVICES, View, mount_points, root_steps
from anchor_supervisor.rootfs.strategies import assemble, require_mount_points
from anchor_supervisor.rootfs.volumes import prepare

_INERT: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_SEEN_ONLY: Final = _INERT | mount.MOUNT_ATTR_RDONLY


@final
@frozen
class Places:
    """Where this instance's things are on the machine.

    `writable` is its own directory for what it writes; `etc` maps targets such as `/etc/hosts` to
    the files of `files.write_files`; `data` is the data directory, for named volumes. `hidden` are
    directories of the supervisor that image `host` would show, and that are masked there.
    """

    fleet: str
    writable: Path
    data: Path
    etc: Mapping[str, Path]
    hidden: tuple[Path, ...] = ()


def prepare_view(
    container: Container,
    layers: Layers,
    places: Places,
    *,
    ids: IdRange | None,
    user_namespace: int | None,
    stack: contextlib.ExitStack,
) -> View:
    """Prepare one start; every descriptor in the result is closed by `stack`.

    `ids` and `user_namespace` are both given or both None. Takes about a millisecond, but for
    strategy `copy` the first time. Raises HostError, ImageError or FleetError, each naming what.
    """
    root = assemble(
        container.root,
        layers,
        places.writable,
        ids=ids,
        user_namespace=user_namespace,
        read_only=container.read_only,
    )
    stack.callback(os.close, root)
    volumes = []
    for volume in container.volumes:
        mounted = prepare(
            volume, data=places.data, fleet=places.fleet, user_namespace=user_namespace
        )
        if mounted.fd is not None:
            stack.callback(os.close, mounted.fd)
        volumes.append(mounted)
    view = View(
        root=root,
        null=clone_device("null", stack),
        devices=clone_devices(DEVICES, stack),
        volumes=tuple(volumes),
        etc={target: _clone(path, stack) for target, path in places.etc.items()},
        sysfs=_machine_sysfs(container, stack),
        read_only=container.read_only,
        masked_paths=container.masked_paths,
        hidden=tuple(map(str, places.hidden)) if layers.host else (),
        sysctls=container.sysctls,
        processors=os.sysconf("SC_NPROCESSORS_CONF"),
    )
    if container.root is RootStrategy.BIND:
        require_mount_points(root, mount_points(root_steps(view)))
    return view


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
