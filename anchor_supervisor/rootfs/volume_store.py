"""The named volumes that are on disk: `<data>/volumes/<fleet>/<name>/data`.

A volume is renamed before it is removed, so that one half gone is never taken for a whole. What
containers have written is hostile: it is counted and removed by descriptor, no link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.fleet.mounts import VOLUME_NAME
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS, remove_beneath
from anchor_supervisor.rootfs.volume_content import UNUSED, named_path, volumes_dir
from anchor_supervisor.values import frozen

_GOING: Final = ".gone-"
DEEPEST: Final = 1000  # levels that are looked into for a size: one descriptor each


@final
@frozen(order=True)
class StoredVolume:
    """One volume on disk; `created` in seconds since 1970, `unused` by any container so far."""

    fleet: str
    name: str
    path: Path
    created: float
    unused: bool


def stored_volumes(data: Path, fleet: str | None = None) -> tuple[StoredVolume, ...]:
    """List the volumes of this fleet, or of all, in order. Raises KernelError."""
    top = data / "volumes"
    try:
        fleets = [fleet] if fleet is not None else _names(top)
        found = [(owner, name) for owner in fleets for name in _names(top / owner)]
    except OSError as error:
        raise KernelError(error.errno or 0, "read", str(top)) from error
    volumes = (_look(data, owner, name) for owner, name in found)
    return tuple(sorted(volume for volume in volumes if volume is not None))


def _names(directory: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [path.name for path in directory.iterdir() if not path.name.startswith(".")]
    return []


def _look(data: Path, fleet: str, name: str) -> StoredVolume | None:
    path = named_path(data, fleet, name)
    try:
        status = path.parent.lstat()
        if VOLUME_NAME.fullmatch(name) is None or not path.is_dir():
            return None
    except FileNotFoundError:
        return None
    # The directory above changes until the volume is first used, and not after.
    unused = (path.parent / UNUSED).exists()
    return StoredVolume(fleet, name, path, status.st_mtime, unused)


def find_volume(data: Path, fleet: str, name: str) -> StoredVolume:
    """Find one. Raises HostError where it is not there."""
    found = _look(data, fleet, name) if VOLUME_NAME.fullmatch(name) else None
    if found is None:
        message = f"there is no volume `{fleet}/{name}`"
        raise HostError(message, hint="`anchor volume ls` lists what is there")
    return found


def create_volume(data: Path, fleet: str, name: str) -> StoredVolume:
    """Make an empty one, which its first container still fills from its image; keep one there."""
    path = named_path(data, fleet, name)
    try:
        make_private(path.parent)
        parent = os.open(path.parent, DIRECTORY_FLAGS)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            if not path.exists():
                (path.parent / UNUSED).touch(mode=0o600)
                path.mkdir(mode=0o755)
                path.chmod(0o755)
        finally:
            os.close(parent)
    except OSError as error:
        raise KernelError(error.errno or 0, "make volume", str(path)) from error
    return find_volume(data, fleet, name)


def remove_volume(data: Path, fleet: str, name: str) -> None:
    """Remove one with its content; one that is gone is fine.

    The caller knows that no container uses it. Raises KernelError.
    """
    folder = volumes_dir(data, fleet)
    try:
        parent = os.open(folder, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return
    try:
        for left in _leftovers(parent):
            remove_beneath(parent, left)
        going = f"{_GOING}{name}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, going, src_dir_fd=parent, dst_dir_fd=parent)
        remove_beneath(parent, going)
    except OSError as error:
        raise KernelError(error.errno or 0, "remove volume", f"{fleet}/{name}") from error
    finally:
        os.close(parent)
    with contextlib.suppress(OSError):  # it has other volumes
        folder.rmdir()


def _leftovers(parent: int) -> list[str]:
    """What removals that were killed have left."""
    return [name for name in _listed(parent) if name.startswith(_GOING)]


def _listed(directory: int) -> list[str]:
    return os.listdir(directory)


def volume_size(volume: StoredVolume) -> int:
    """Bytes that its content takes on disk, a file of several names once. Changes are no error.

    One that has just been removed has none. Raises KernelError.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    try:
        for status in _everything(volume.path):
            key = (status.st_dev, status.st_ino)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if key in seen:
                    continue
                seen.add(key)
            total += status.st_blocks * 512
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise KernelError(error.errno or 0, "read", str(volume.path)) from error
    return total


def _everything(top: Path) -> Iterator[os.stat_result]:
    """The status of every entry beneath `top`, of one file system, with one descriptor a level."""
    levels: list[tuple[int, list[str]]] = []
    try:
        first = os.open(top, DIRECTORY_FLAGS)
        levels.append((first, _listed(first)))
        device = os.fstat(first).st_dev
        while levels:
            directory, names = levels[-1]
            if not names:
                os.close(levels.pop()[0])
                continue
            name = names.pop()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                yield status
                inside = stat.S_ISDIR(status.st_mode) and status.st_dev == device
                if inside and len(levels) < DEEPEST:
                    below = os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
                    levels.append((below, []))
                    levels[-1][1].extend(_listed(below))
    finally:
        for directory, _ in levels:
            os.close(directory)
