"""What is in the files that a fleet mounts, as digests: a change of them is a change of the fleet.

Looked at once, when the fleet is completed, and never while it runs. A file counts by its content,
a directory that is mounted read-only by the names, kinds and contents of all that is in it, modes
and owners aside. No link is followed, no other file system entered, and nothing but plain files is
opened. What a kernel makes up as it is read (/proc, /sys) has no content to compare.
"""

from __future__ import annotations

import hashlib
import os
import stat
from itertools import islice
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Container, Fleet, Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.filesystem import file_system
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.rootfs.volumes import open_source
from anchor_supervisor.values import define, evolve, field

MOST_ENTRIES: Final = 10_000
MOST_BYTES: Final = 64 << 20
"""Read of one volume; a file beyond them counts by its size and its time of change."""

_CHUNK: Final = 1 << 20
_MADE_UP: Final = frozenset({"proc", "sysfs", "cgroup2", "debugfs", "tracefs"})


def with_contents(fleet: Fleet) -> Fleet:
    """Fill in `Volume.content` of every bind of a file, or of a directory mounted read-only.

    It stays None for what is missing, made up by the kernel, or of more than MOST_ENTRIES entries:
    what changes there restarts nothing. Blocking, as long as it takes to read at most MOST_BYTES a
    volume.
    """
    known: dict[tuple[str | None, str | None, bool], str | None] = {}

    def look(volume: Volume) -> Volume:
        if volume.kind is not VolumeKind.BIND:
            return volume
        key = (volume.source, volume.subpath, volume.read_only)
        if key not in known:
            known[key] = content_digest(volume)
        return evolve(volume, content=known[key])

    def complete(container: Container) -> Container:
        return evolve(container, volumes=tuple(map(look, container.volumes)))

    containers = {
        name: complete(container) if container.volumes else container
        for name, container in fleet.containers.items()
    }
    return evolve(fleet, containers=containers)


def content_digest(volume: Volume) -> str | None:
    """Name what a bind shows now, with `sha256:`; None where that does not count."""
    assert volume.source is not None
    try:
        handle = open_source(volume, Path(volume.source))
    except HostError:
        return None  # whoever mounts it says so better
    try:
        look = _Look(MOST_BYTES)
        status = os.fstat(handle)
        if file_system(handle) in _MADE_UP:
            return None
        if stat.S_ISREG(status.st_mode):
            look.add_file(handle)
        elif not (stat.S_ISDIR(status.st_mode) and volume.read_only and look.add_tree(handle)):
            return None
        return f"sha256:{look.digest.hexdigest()}"
    except OSError:
        return None  # it goes while it is looked at, or nests deeper than a path can be long
    finally:
        os.close(handle)


@final
@define(eq=False)
class _Look:
    """What was seen of one volume so far."""

    bytes_left: int
    entries: int = 0
    digest: hashlib._Hash = field(factory=hashlib.sha256)

    def add_tree(self, top: int) -> bool:
        """Look at everything beneath `top`, in an order of names; False: there is too much."""
        device = os.fstat(top).st_dev
        waiting = [""]
        while waiting:
            place = waiting.pop()
            directory = mount.open_beneath(top, place or ".", DIRECTORY_FLAGS)
            try:
                names = _names(directory, MOST_ENTRIES + 1 - self.entries)
                self.entries += len(names)
                if self.entries > MOST_ENTRIES:
                    return False
                for name in names:
                    path = f"{place}{name}"
                    below = self._add_entry(directory, name, path)
                    if below == device:
                        waiting.append(f"{path}/")
            finally:
                os.close(directory)
        return True

    def _add_entry(self, directory: int, name: str, path: str) -> int | None:
        """Look at one entry; return the device of a directory, whose own entries are to follow."""
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            status = os.fstat(handle)
            kind = stat.S_IFMT(status.st_mode)
            self._add(f"{kind:o}", path)
            if stat.S_ISREG(kind):
                self.add_file(handle)
            elif stat.S_ISLNK(kind):
                self._add(os.readlink("", dir_fd=handle))
            return status.st_dev if stat.S_ISDIR(kind) else None
        finally:
            os.close(handle)

    def add_file(self, handle: int) -> None:
        """Read a plain file, or take its size and time where that would be too much."""
        status = os.fstat(handle)
        if status.st_size > self.bytes_left:
            self._add("large", str(status.st_size), str(status.st_mtime_ns))
            return
        content = hashlib.sha256()
        left = status.st_size  # one that grows meanwhile has no end
        if left:
            # Known to be a plain file: opening another kind could wait, or do something.
            with open(f"/proc/self/fd/{handle}", "rb", buffering=0) as file:  # noqa: PTH123
                while left and (chunk := file.read(min(left, _CHUNK))):
                    content.update(chunk)
                    left -= len(chunk)
        self.bytes_left -= status.st_size
        self._add("file", content.hexdigest())

    def _add(self, *words: str) -> None:
        """Add words so that no others look the same: each begins with its length."""
        for word in map(os.fsencode, words):
            self.digest.update(b"%d:%b" % (len(word), word))


def _names(directory: int, most: int) -> list[str]:
    """At most so many names: more are too many, and need not fit in memory."""
    with os.scandir(directory) as entries:
        return sorted((entry.name for entry in islice(entries, most)), key=os.fsencode)
