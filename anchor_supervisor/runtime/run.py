"""One run of one instance, from exec until everything of it has ended and is written down."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import time
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc, pidfd
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from anchor_supervisor.kernel.spawn import Child
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.recipe import Process
from anchor_supervisor.runtime.signal_number import signal_number
from anchor_supervisor.supervision.states import ExitStatus
from anchor_supervisor.values import define, field

if TYPE_CHECKING:
    from anchor_supervisor.runtime.notify_socket import NotifySocket

WAIT_STATUS: Final = struct.Struct("i")
NO_STATUS: Final = -1  # no process ends like this (wait(2))
SIZE_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_NO_STATUS: Final = WAIT_STATUS.pack(NO_STATUS)


def ask_status(handover: Handover) -> Given:
    """Have a place made for one wait status, in memory, whose size nobody can change."""
    status = handover.upcoming
    calls: list[libc.Call] = [
        ("memfd_create", b"exit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING),
        ("pwrite64", status, _NO_STATUS, len(_NO_STATUS), 0),
        ("fcntl", status, fcntl.F_ADD_SEALS, SIZE_SEALS),
    ]
    return handover.ask(calls, "make room for a wait status")


@final
@define(eq=False)
class HostRun:
    """Owns the child's pidfd and the descriptor that our init writes the command's end to."""

    holdings: Holdings
    child: Child
    status: int
    process: Process
    notify: NotifySocket | None = None
    looked_at: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)

    @property
    def pid(self) -> int:
        """The main process, as the host numbers it."""
        return self.child.pid

    async def wait(self) -> ExitStatus:
        """Return how the run ended.

        The kernel reaps a pid namespace's every other process before its first one can be waited
        for (pid_namespaces(7)), so nothing of the run is left when this returns.
        """
        import trio  # here, because many a run is over before there is a loop

        await trio.lowlevel.wait_readable(self.child.pidfd)
        status = self.finish()
        if self.notify is not None:
            await self.notify.close()
        return status

    def finish(self) -> ExitStatus:
        """Reap the ended child, store what it still said, and close what the run owned."""
        ending = pidfd.reap(self.child.pidfd)
        ending = self._command_ending() or ending or pidfd.Ending()
        self.ended = True
        self.child.close()
        os.close(self.status)
        self.holdings.pump.drain()
        self.holdings.pump.log.end_run(time.time_ns())
        # An OOM kill takes the whole container, so one that ended by itself has met none.
        oom = self.holdings.oom() if ending.code is None else None
        return ExitStatus(ending.code, ending.signal, oom)

    def abandon(self, patience: float = 10.0) -> None:
        """Wait for a killed run without a loop, and close all; `patience` in seconds.

        A process that cannot die (in an uninterruptible sleep) is not waited for longer.
        """
        if not self.ended:
            poll = select.poll()
            poll.register(self.child.pidfd, select.POLLIN)
            if poll.poll(patience * 1000):
                self.finish()
        if self.notify is not None:
            self.notify.abandon()

    def hold(self) -> int:
        """A descriptor of the main process that stays valid when the run ends; the caller's.

        Raises KernelError (ESRCH) where it has ended: the number of its own may be another's now.
        """
        if self.ended:
            raise KernelError(errno.ESRCH, "enter the container", str(self.holdings.instance))
        return os.dup(self.child.pidfd)

    def signal(self, name: str) -> None:
        """Send a signal to the main process; our init passes it on to the command."""
        if not self.ended:
            pidfd.send_signal(self.child.pidfd, signal_number(name))

    def _command_ending(self) -> pidfd.Ending | None:
        """The command's end as init wrote it; None where init was killed, or there is none."""
        (status,) = WAIT_STATUS.unpack(os.pread(self.status, WAIT_STATUS.size, 0))
        return None if status == NO_STATUS else pidfd.ending_of_status(status)
