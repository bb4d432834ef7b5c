"""Volumes before a container starts: each one a detached mount, seen through the container's ids.

A source is opened once and only the descriptor is used, so nobody can exchange it afterwards
(CVE-2021-30465). tmpfs volumes have no source; the container's first process makes them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.model import Propagation, Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.propagation import hears_of_mounts
from anchor_supervisor.rootfs.volume_content import (
    Origin,
    anonymous_path,
    make_content,
    named_path,
)
from anchor_supervisor.values import frozen

_PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC
# A clone hears of the machine's later mounts as its source does, unless told not to.
_PROPAGATION: Final = {
    Propagation.PRIVATE: mount.MS_PRIVATE,
    Propagation.SLAVE: mount.MS_SLAVE,
}


@final
@frozen
class OpenVolume:
    """A volume and its prepared, detached mount; `fd` is None for tmpfs, which the child makes.

    `directory` is False where a single file was mounted.
    """

    volume: Volume
    fd: int | None = None
    directory: bool = True


def prepare(
    volume: Volume,
    *,
    data: Path,
    fleet: str,
    user_namespace: int | None,
    owner: tuple[int, int] = (0, 0),
    writable: Path | None = None,
    layers: Layers | None = None,
    make: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> OpenVolume:
    """Prepare one volume; the caller closes `fd`, which is None for tmpfs.

    `user_namespace` None: ids are the machine's. `writable` is the instance's own directory, where
    anonymous volumes are; from `layers` comes what a new volume begins with. Without `make` none is
    made: only a start knows what is in a new one, and whose it is. `cancelled` is asked now and
    then while a new one is filled. Raises HostError that names a
    bind source or a subpath which is missing, or a source which cannot be idmapped.
    """
    if volume.kind is VolumeKind.TMPFS:
        return OpenVolume(volume)
    source = _source(volume, data, fleet, writable)
    if volume.kind is not VolumeKind.BIND:
        if make:
            _make(volume, source, owner, layers, cancelled)
        elif not source.exists():
            raise HostError("no container has used it yet", hint="its first start makes it")
    handle = open_source(volume, source)
    try:
        directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        fd = clone_mapped(
            handle, user_namespace, attributes(volume), recursive=directory, words=str(source)
        )
        try:
            mount.set_attributes(
                fd, propagation=_PROPAGATION[volume.propagation], recursive=directory
            )
        except BaseException:
            os.close(fd)
            raise
    finally:
        os.close(handle)
    return OpenVolume(volume, fd, directory)


def attributes(volume: Volume) -> int:
    """The MOUNT_ATTR_* that a volume's options ask for. None of the product's own has devices."""
    found = 0
    if volume.read_only:
        found |= mount.MOUNT_ATTR_RDONLY
    if volume.noexec:
        found |= mount.MOUNT_ATTR_NOEXEC
    if volume.nosuid:
        found |= mount.MOUNT_ATTR_NOSUID
    if volume.nodev or volume.kind is not VolumeKind.BIND:
        found |= mount.MOUNT_ATTR_NODEV
    return found


def _source(volume: Volume, data: Path, fleet: str, writable: Path | None) -> Path:
    if volume.kind is VolumeKind.ANONYMOUS:
        assert writable is not None
        return anonymous_path(writable, volume.target)
    assert volume.source is not None
    if volume.kind is VolumeKind.NAMED:
        return named_path(data, fleet, volume.source)
    return Path(volume.source)


def _make(
    volume: Volume,
    path: Path,
    owner: tuple[int, int],
    layers: Layers | None,
    cancelled: Callable[[], bool],
) -> None:
    """A new volume cannot have the subpath that is asked for, and is not made for that."""
    if volume.subpath is None:
        origin = Origin(layers, volume.target) if volume.copy and layers is not None else None
        make_content(path, owner, origin, cancelled)
    elif not path.exists():
        message = f"volume `{volume.source}` is new and has no `{volume.subpath}`"
        raise HostError(message, hint="a container that mounts the whole volume can make it")


def open_source(volume: Volume, source: Path) -> int:
    """Open what the volume shows, without making anything; the caller closes it (O_PATH).

    Raises HostError for a source or subpath that is missing, and for a slave of what nobody shares.
    """
    handle = _open_path(source)
    try:
        if volume.propagation is Propagation.SLAVE and not hears_of_mounts(handle):
            message = f"volume source `{source}` is on a mount that the machine does not share"
            raise HostError(message, hint="`mount --make-rshared` it, or leave out `rslave`")
        if volume.subpath is None:
            return os.dup(handle)
        return _open_subpath(handle, volume.subpath, source)
    finally:
        os.close(handle)


def _open_path(source: Path) -> int:
    try:
        return os.open(source, _PATH_FLAGS)
    except FileNotFoundError as error:
        message = f"volume source `{source}` does not exist"
        raise HostError(
            message,
            hint="make it first; it is never made for you",
        ) from error
    except OSError as error:
        raise KernelError(error.errno or 0, "open volume source", str(source)) from error


def _open_subpath(handle: int, subpath: str, source: Path) -> int:
    """Resolve it as if the volume were the whole world: no link in it leads out (CVE-2017-1002101).

    Whoever writes to the volume may change it meanwhile; the descriptor stays what was found.
    """
    try:
        return mount.open_beneath(handle, subpath, _PATH_FLAGS)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        message = f"volume source `{source}` has no `{subpath}` within it"
        raise HostError(message, hint="make it first; it is never made for you") from error
