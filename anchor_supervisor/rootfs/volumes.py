"""Volumes before a container starts: each one a detached mount, seen through the container's ids.

A source is opened once and only the descriptor is used, so nobody can exchange it afterwards
(CVE-2021-30465). tmpfs volumes have no source; the container's first process makes them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.plan import MountedVolume
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS


def prepare(
    volume: Volume,
    *,
    data: Path,
    fleet: str,
    user_namespace: int | None,
    owner: tuple[int, int] = (0, 0),
) -> MountedVolume:
    """Prepare one volume; the caller closes `fd`, which is None for tmpfs.

    `user_namespace` None: ids are the machine's. Raises HostError that names a bind source which
    is missing or cannot be idmapped.
    """
    if volume.kind is VolumeKind.TMPFS:
        return MountedVolume(volume)
    assert volume.source is not None
    named = volume.kind is VolumeKind.NAMED
    source = make_named(data, fleet, volume.source, owner) if named else Path(volume.source)
    handle = _open_source(source)
    try:
        directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        attributes = mount.MOUNT_ATTR_RDONLY if volume.read_only else 0
        if named:
            attributes |= mount.MOUNT_ATTR_NODEV
        fd = clone_mapped(
            handle, user_namespace, attributes, recursive=directory, words=str(source)
        )
    finally:
        os.close(handle)
    return MountedVolume(volume, fd, directory)


def named_path(data: Path, fleet: str, name: str) -> Path:
    """Where a named volume's content lives."""
    return data / "volumes" / fleet / name / "data"


def make_named(data: Path, fleet: str, name: str, owner: tuple[int, int] = (0, 0)) -> Path:
    """Make a named volume's directory on first use, with mode 0755, for `owner` (ids inside).

    Ids inside are ids on disk: a volume is seen through the container's own mapping.

    The directories above are the supervisor's alone, so that nobody else on the machine reaches a
    set-id file in a volume (CVE-2021-41091).
    """
    path = named_path(data, fleet, name)
    try:
        make_private(path.parent)
        parent = os.open(path.parent, DIRECTORY_FLAGS)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path.name, 0o755, dir_fd=parent)
                os.chown(path.name, *owner, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)
    except OSError as error:
        raise KernelError(error.errno or 0, "make volume", str(path)) from error
    return path


def _open_source(source: Path) -> int:
    try:
        return os.open(source, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError as error:
        message = f"volume source `{source}` does not exist"
        raise HostError(
            message,
            hint="make it first; it is never made for you",
        ) from error
    except OSError as error:
        raise KernelError(error.errno or 0, "open volume source", str(source)) from error
