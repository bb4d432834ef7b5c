"""Everything that a container sees besides its root, opened for one start: a complete `View`.

What is opened is the caller's to close; after the spawn that can be done, since the container holds
its own.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anchor_supervisor.fleet.model import Container, ImageKind, NetworkMode, RootStrategy
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.steps import Given
from anchor_supervisor.rootfs.devices import Devices
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.plan import (
    MountedGrant,
    MountedVolume,
    View,
    mount_points,
    root_steps,
)
from anchor_supervisor.rootfs.strategies import require_mount_points

if TYPE_CHECKING:
    from anchor_supervisor.rootfs.grants import GrantFiles
    from anchor_supervisor.rootfs.volumes import OpenVolume

_INERT: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_SEEN_ONLY: Final = _INERT | mount.MOUNT_ATTR_RDONLY


def open_view(
    container: Container,
    root: int,
    *,
    devices: Devices,
    handover: Handover,
    fleet: str,
    data: Path,
    etc: Mapping[str, str],
    hidden: tuple[str, ...],
    grants: GrantFiles | None = None,
    user_namespace: int | None,
    owner: tuple[int, int] = (0, 0),
    writable: Path | None = None,
    layers: Layers | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    opened: Descriptors,
) -> View:
    """Open all of it, or ask for it; `handover` gives it to the child.

    `opened` owns what is opened here; the rest is there once `handover`, which `devices` began, has
    opened what was asked.
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
    volumes: tuple[MountedVolume, ...] = ()
    if container.volumes:
        from anchor_supervisor.rootfs.volumes import prepare  # with all that may be in one

        volumes = tuple(
            _handed(
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
                handover,
                opened,
            )
            for volume in container.volumes
        )
    view = View(
        root=handover.add(root),
        null=devices.mask,
        devices=devices.places,
        volumes=volumes,
        etc={target: _clone(path, handover) for target, path in etc.items()},
        grants=_granted(grants, handover, opened),
        sysfs=_machine_sysfs(container, handover),
        read_only=container.read_only,
        masked_paths=container.masked_paths,
        hidden=hidden if container.image.kind is ImageKind.HOST else (),
        sysctls=container.sysctls,
        processors=_processors(),
    )
    if container.root is RootStrategy.BIND:
        require_mount_points(root, mount_points(root_steps(view)))
    return view


@functools.cache
def _processors() -> int:
    """How many this machine may ever have (cpu/possible, which is settled at boot)."""
    return os.sysconf("SC_NPROCESSORS_CONF")


def _handed(volume: OpenVolume, handover: Handover, opened: Descriptors) -> MountedVolume:
    if volume.fd is None:
        return MountedVolume(volume.volume)
    return MountedVolume(volume.volume, handover.add(opened.add(volume.fd)), volume.directory)


def _granted(
    grants: GrantFiles | None, handover: Handover, opened: Descriptors
) -> tuple[MountedGrant, ...]:
    mounts = () if grants is None else grants.mounts(opened)
    return tuple(MountedGrant(one.grant, handover.add(one.fd)) for one in mounts)


def _clone(path: str, handover: Handover) -> Given:
    """Clone a file of ours, or the machine's sysfs: to be seen by a container, never written."""
    return handover.ask(mount.cloning(path, handover.upcoming, _SEEN_ONLY), "clone", path)


def _machine_sysfs(container: Container, handover: Handover) -> Given | None:
    """On the machine's network only the machine's own sysfs will do, without its submounts."""
    if container.network_mode is not NetworkMode.HOST:
        return None
    return _clone("/sys", handover)
