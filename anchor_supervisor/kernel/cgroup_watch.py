"""One descriptor that tells when any group of a fleet becomes empty, freezes or meets a limit.

Waiting for it is the caller's (trio.lowlevel.wait_readable). It is inotify, and one for all,
because fs.inotify.max_user_instances is 128 on most machines, and to close one takes the kernel
some 15 ms. A thread that waits for one group does without (`wait_empty`).
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from types import TracebackType
from typing import Final, Self, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.cgroup import Cgroup

_IN_MODIFY: Final = 0x2
_IN_Q_OVERFLOW: Final = 0x4000
_IN_IGNORED: Final = 0x8000
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT: Final = struct.Struct("iIII")  # inotify(7): wd, mask, cookie, len; a name of len follows
_READ: Final = 65536


@final
class CgroupWatch:
    """Watches `cgroup.events` (populated, frozen) or `memory.events` of any number of groups."""

    def __init__(self) -> None:
        """Open the inotify instance. Raises KernelError: EMFILE means too many are open."""
        self._fd = libc.system_call("inotify_init1", _FLAGS)
        self._watched: dict[int, tuple[Cgroup, str]] = {}
        self._descriptors: dict[tuple[Cgroup, str], int] = {}

    def __enter__(self) -> Self:
        """Hold it open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        """Readable when there is something for `take_changed`."""
        return self._fd

    def add(self, group: Cgroup, file: str = "cgroup.events") -> None:
        """Watch one file of `group`. Read it once afterwards: what changed before is not told."""
        path = libc.path_bytes(group.path / file)
        descriptor = libc.system_call(
            "inotify_add_watch", self._fd, path, _IN_MODIFY, subject=os.fsdecode(path)
        )
        self._watched[descriptor] = (group, file)
        self._descriptors[group, file] = descriptor

    def discard(self, group: Cgroup, file: str = "cgroup.events") -> None:
        """Watch it no more; a group that was removed took its watch along."""
        descriptor = self._descriptors.pop((group, file), None)
        if descriptor is None:
            return
        self._watched.pop(descriptor, None)
        try:
            libc.system_call("inotify_rm_watch", self._fd, descriptor)
        except KernelError:
            return  # EINVAL: it went with its group, and the event is still in the queue

    def take_changed(self) -> frozenset[Cgroup]:
        """Return the groups with news since the last call, without waiting; their files say what.

        Where the kernel's queue overflowed, every watched group is given.
        """
        changed: set[Cgroup] = set()
        while True:
            try:
                events = os.read(self._fd, _READ)
            except BlockingIOError:
                return frozenset(changed)
            position = 0
            while position < len(events):
                descriptor, mask, _, extra = _EVENT.unpack_from(events, position)
                position += _EVENT.size + extra
                changed |= self._groups_of(descriptor, mask)

    def _groups_of(self, descriptor: int, mask: int) -> set[Cgroup]:
        if mask & _IN_Q_OVERFLOW:
            return {group for group, _ in self._watched.values()}
        if mask & _IN_IGNORED:
            gone = self._watched.pop(descriptor, None)
            if gone is not None:
                self._descriptors.pop(gone, None)
                return {gone[0]}
            return set()
        known = self._watched.get(descriptor)
        return {known[0]} if known is not None else set()


def wait_empty(group: Cgroup, patience: float) -> bool:
    """Block until no process is in the group or beneath it; False: not within `patience` seconds.

    A group that is gone is empty. The file itself can be polled (cgroup-v2.rst, "cgroup.events").
    """
    try:
        events = os.open(group.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        give_up = time.monotonic() + patience
        while b"populated 1" in os.pread(events, 4096, 0):  # from now on a change wakes us
            if not poll.poll(max(0.0, give_up - time.monotonic()) * 1000):
                return False
    except OSError as error:
        if error.errno != errno.ENODEV:  # it was removed meanwhile
            raise KernelError(error.errno or 0, "read", str(group.path / "cgroup.events")) from None
    finally:
        os.close(events)
    return True
