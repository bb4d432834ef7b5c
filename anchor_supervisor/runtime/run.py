"""One run of one instance, from exec until everything of it has ended and is written down."""

from __future__ import annotations

import os
import struct
import time
from typing import Final, final

import trio
from attrs import define, field

from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.spawn import Child
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.limits import oom_words
from anchor_supervisor.supervision.states import ExitStatus

WAIT_STATUS: Final = struct.Struct("i")


@final
@define(eq=False)
class HostRun:
    """Owns the child's pidfd and the descriptor that our init writes the command's end to."""

    holdings: Holdings
    child: Child
    status: int
    oom_kills_before: int
    _ended: bool = field(default=False, init=False)

    @property
    def pid(self) -> int:
        """The main process, as the host numbers it."""
        return self.child.pid

    async def wait(self) -> ExitStatus:
        """Return how the run ended.

        The kernel reaps a pid namespace's every other process before its first one can be waited
        for (pid_namespaces(7)), so nothing of the run is left when this returns.
        """
        await trio.lowlevel.wait_readable(self.child.pidfd)
        return self.finish()

    def finish(self) -> ExitStatus:
        """Reap the ended child, store what it still said, and close what the run owned."""
        ending = pidfd.reap(self.child.pidfd)
        self._ended = True
        command = self._command_status()
        trio.lowlevel.notify_closing(self.child.pidfd)
        self.close()
        self.holdings.pump.drain()
        self.holdings.pump.log.end_run(time.time_ns())
        oom = oom_words(self.holdings.cgroup, self.oom_kills_before)
        if command is not None:
            return ExitStatus(*command, oom=oom)
        if ending is None:
            return ExitStatus(oom=oom)
        return ExitStatus(ending.code, ending.signal, oom)

    def close(self) -> None:
        """Close the descriptors of the run."""
        os.close(self.child.pidfd)
        os.close(self.status)

    def signal(self, name: str) -> None:
        """Send a signal to the main process; our init passes it on to the command."""
        if not self._ended:
            pidfd.send_signal(self.child.pidfd, name)

    def _command_status(self) -> tuple[int | None, int | None] | None:
        """The command's `(code, signal)` as init wrote it; None where init was killed itself."""
        raw = os.pread(self.status, WAIT_STATUS.size, 0)
        if len(raw) < WAIT_STATUS.size:
            return None
        status = WAIT_STATUS.unpack(raw)[0]
        if os.WIFSIGNALED(status):
            return None, os.WTERMSIG(status)
        return os.WEXITSTATUS(status), None
