"""Processes by descriptor: signal, reap, and recognise one again. Never trusts a pid alone.

Waiting is the caller's: a pidfd becomes readable when its process has ended.
"""

from __future__ import annotations

import errno
import os
import signal as signals
from pathlib import Path
from typing import final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.values import frozen

_WALL = 0x40000000  # wait(2): a child that never executed has no SIGCHLD as its exit signal


@final
@frozen
class Ending:
    """How a process ended: exactly one of `code` (exit code) and `signal` (its number) is set."""

    code: int | None = None
    signal: int | None = None

    @property
    def shell_code(self) -> int:
        """The exit code a shell gives: its own, or 128 + N where signal N ended it."""
        return self.code if self.code is not None else 128 + (self.signal or 0)


@final
@frozen
class Identity:
    """Enough to tell a process from a later one with the same pid.

    `start_time` is in clock ticks since boot (proc(5), stat field 22), `cgroup` the cgroup2 path as
    the reader's cgroup namespace shows it.
    """

    pid: int
    start_time: int
    cgroup: str


def open_pidfd(pid: int) -> int:
    """Open a descriptor of the process. Raises KernelError (ESRCH: there is none)."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise KernelError(error.errno or 0, "pidfd_open", str(pid)) from None


def send_signal(pidfd: int, signal: int) -> bool:
    """Send `signal`; False where the process has already ended and been reaped."""
    try:
        signals.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise KernelError(error.errno or 0, "pidfd_send_signal", str(signal)) from None
    return True


def reap(pidfd: int) -> Ending | None:
    """Take the ending of a child of ours; None while it runs. Raises KernelError (ECHILD)."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | _WALL)
    except OSError as error:
        raise KernelError(error.errno or 0, "waitid") from None
    if found is None:
        return None
    if found.si_code == os.CLD_EXITED:
        return Ending(code=found.si_status)
    return Ending(signal=found.si_status)


def ending_of_status(status: int) -> Ending:
    """Read a raw wait status (wait(2)), such as the one our init writes."""
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status))
    return Ending(code=os.WEXITSTATUS(status))


def identify(pid: int) -> Identity | None:
    """Read what tells this process from others; None where it has ended."""
    try:
        # The name in field 2 may hold spaces and parentheses: count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        groups = Path(f"/proc/{pid}/cgroup").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        return None
    unified = [line[3:] for line in groups.splitlines() if line.startswith("0::")]
    return Identity(pid, int(fields[19]), unified[0] if unified else "")


def open_same(identity: Identity) -> int | None:
    """Open a pidfd of exactly that process, or None where it has ended.

    The identity is read again after the open, so the pid cannot have been given away in between.
    """
    try:
        pidfd = open_pidfd(identity.pid)
    except KernelError as error:
        if error.errno == errno.ESRCH:
            return None
        raise
    if identify(identity.pid) == identity and not _has_ended(pidfd):
        return pidfd
    os.close(pidfd)
    return None


def _has_ended(pidfd: int) -> bool:
    """Whether signal 0 finds nobody (a zombie still counts as there)."""
    return not send_signal(pidfd, 0)
