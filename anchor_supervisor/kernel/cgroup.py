"""Control groups, version 2 only: one directory made, read, written and removed.

Must not know which limits a fleet wants (`cgroup_limits`) nor wait (`cgroup_watch`). Files by which
kernels differ are probed for, never guessed from a version.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import frozen

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OCTAL: Final = pattern(r"\\([0-7]{3})")


def find_mount(mountinfo: str | None = None) -> Path:
    """Find where cgroup2 is mounted: `/sys/fs/cgroup`, or `unified` in it on a hybrid machine.

    `mountinfo` is the text of /proc/self/mountinfo (proc(5)), read where it is not given. Raises
    HostError where there is none.
    """
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            place = before.split()[4]
            return Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), place))
    message = "cgroup2 is not mounted"
    raise HostError(message, hint="mount -t cgroup2 none /sys/fs/cgroup")


def own_group(mount: Path) -> Cgroup:
    """Return the group this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return Cgroup(mount / line[3:].lstrip("/"))
    message = "this process is in no cgroup2 group"
    raise HostError(message)


@final
@frozen
class MemoryEvents:
    """Counts from memory.events: how often the group met its limit, and what the kernel killed."""

    high: int = 0
    max: int = 0
    oom: int = 0
    oom_kill: int = 0
    oom_group_kill: int = 0


@final
@frozen
class Cgroup:
    """A group by its directory. Holds nothing: making one of these makes nothing.

    Errors are KernelError with the file's path.
    """

    path: Path

    def child(self, name: str) -> Cgroup:
        """Name a group beneath this one."""
        return Cgroup(self.path / name)

    def create(self) -> bool:
        """Make the directory; one that exists is used as it is (False)."""
        try:
            os.mkdir(self.path)  # noqa: PTH102 - a third of the time of a Path's
        except FileExistsError:
            return False
        except OSError as error:
            raise KernelError(error.errno or 0, "make the cgroup", str(self.path)) from None
        return True

    def make(self, values: Sequence[tuple[str, str]]) -> int:
        """Make the directory, write these values to files of it, and return it open; the caller's.

        In one visit, for a group of which nothing is there yet. Raises KernelError; then what was
        done until then stays.
        """
        path = libc.path_bytes(self.path)
        calls: list[libc.Call] = [
            ("mkdirat", libc.AT_FDCWD, path, 0o777),
            ("openat", libc.AT_FDCWD, path, _DIRECTORY),
        ]
        for file, value in values:
            opened, content = libc.Result(len(calls)), value.encode()
            calls += [
                ("openat", libc.Result(1), file.encode(), os.O_WRONLY | os.O_CLOEXEC),
                ("write", opened, content, len(content)),
                ("close", opened),
            ]
        return libc.perform(calls, "make the cgroup", str(self.path))[1]

    def exists(self) -> bool:
        """Whether the directory is there."""
        return self.path.is_dir()

    def has(self, file: str) -> bool:
        """Whether this kernel offers `file` here."""
        return os.path.exists(f"{self.path}/{file}")  # noqa: PTH110 - half the time of a Path

    def open(self) -> int:
        """Open the directory, for a child to be born in. The caller owns the descriptor."""
        try:
            return os.open(self.path, _DIRECTORY)
        except OSError as error:
            raise KernelError(error.errno or 0, "open the cgroup", str(self.path)) from None

    def read(self, file: str) -> str | None:
        """Read a file without its last newline; None where there is no such file or group."""
        try:
            fd = os.open(f"{self.path}/{file}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KernelError(error.errno or 0, "read", f"{self.path}/{file}") from None
        try:
            with os.fdopen(fd) as opened:
                return opened.read().rstrip("\n")
        except OSError as error:
            if error.errno == errno.ENODEV:  # the group was removed while the file was open
                return None
            raise KernelError(error.errno or 0, "read", str(self.path / file)) from None

    def read_counts(self, file: str) -> dict[str, int]:
        """Read a file of `key number` lines; empty where there is none."""
        lines = (self.read(file) or "").splitlines()
        pairs = (line.partition(" ") for line in lines)
        return {key: int(value) for key, _, value in pairs if value.isdigit()}

    def read_number(self, file: str) -> int | None:
        """Read a file of one number; None where it is absent, or says `max`."""
        text = self.read(file)
        return int(text) if text is not None and text.isdigit() else None

    def write(self, file: str, value: str) -> None:
        """Write `value` in one write."""
        path = f"{self.path}/{file}"
        try:
            # Not O_CREAT: an absent file must be ENOENT and not the EPERM of a creation.
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError(error.errno or 0, f"write `{value}` to", path) from None

    def controllers(self) -> frozenset[str]:
        """List the controllers this group has: what its children can be given."""
        return frozenset((self.read("cgroup.controllers") or "").split())

    def kill(self) -> None:
        """Kill every process in the group and beneath it, for ever-forking ones too (Linux 5.14).

        Returns at once; the group is empty when `populated` says so. A group that is gone is dead.
        """
        try:
            self.write("cgroup.kill", "1")
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV) or self.exists():
                raise

    def populated(self) -> bool:
        """Whether a living process is in the group or beneath it."""
        return self.read_counts("cgroup.events").get("populated", 0) == 1

    def freeze(self, *, frozen: bool) -> None:
        """Ask for every process to stop or to go on; `frozen` tells when it has happened."""
        self.write("cgroup.freeze", "1" if frozen else "0")

    def frozen(self) -> bool:
        """Whether every process of the group has stopped."""
        return self.read_counts("cgroup.events").get("frozen", 0) == 1

    def processes(self) -> tuple[int, ...]:
        """List the pids in this group itself; for people, since any may have gone by now."""
        return tuple(map(int, (self.read("cgroup.procs") or "").split()))

    def memory_events(self) -> MemoryEvents:
        """Read memory.events; all zero where the memory controller is not there."""
        counts = self.read_counts("memory.events")
        return MemoryEvents(
            high=counts.get("high", 0),
            max=counts.get("max", 0),
            oom=counts.get("oom", 0),
            oom_kill=counts.get("oom_kill", 0),
            oom_group_kill=counts.get("oom_group_kill", 0),
        )

    def memory_peak(self) -> int | None:
        """Read the most memory the group has used, in bytes (Linux 5.19)."""
        return self.read_number("memory.peak")

    def remove_empty(self) -> bool:
        """Remove the group where neither a process nor a group is in it; say whether it is gone."""
        try:
            _remove_directory(self.path)
        except KernelError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
        return True

    def remove(self) -> None:
        """Remove the group and those beneath it; they must be empty of processes (else EBUSY)."""
        for directory, names, _ in os.walk(self.path, topdown=False):
            for name in names:
                _remove_directory(Path(directory) / name)
        _remove_directory(self.path)


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(error.errno or 0, "remove the cgroup", str(path)) from None
