"""What the supervisor does to itself at its start. Nothing here concerns a container."""

from __future__ import annotations

import fcntl
import os
import resource
from typing import Final

from anchor_supervisor.kernel import libc

_PR_SET_DUMPABLE: Final = 4


def refuse_dumps() -> None:
    """Make this process non-dumpable: nobody without CAP_SYS_PTRACE may trace or read it.

    Its children share this until they execute, which is what keeps a container from tracing one
    that is still half the supervisor (prctl(2), PR_SET_DUMPABLE).
    """
    libc.system_call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, and return it.

    A container costs the supervisor about eight descriptors; the usual soft limit is 1024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_room_for_files(count: int) -> None:
    """Have a table for `count` descriptors, as far as the limit allows, while there is one thread.

    A table that threads share grows only once an RCU grace period is over (fs/file.c,
    expand_fdtable): each doubling would hold up every start of a burst for some 10 ms.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        last = min(count, soft) - 1
        if last > null:
            os.close(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, last))
    finally:
        os.close(null)
