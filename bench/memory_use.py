"""How much memory is in use, by whom: of one process, and of the machine.

A process is accounted for by its proportional set size: a page that several share is counted once.
What a container costs is mostly the kernel's (namespaces, mounts, a cgroup, a pair of links), and
no process shows that. So the machine is looked at: everything that is neither free nor a cache of
files is in use, and what became more while containers were started is theirs. MemAvailable would be
an estimate of what could be reclaimed; this is a count.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from attrs import frozen

MEMINFO: Final = Path("/proc/meminfo")
DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
SETTLED: Final = 0.2
"""Seconds until the kernel has let go of what it frees behind our back."""


@final
@frozen
class InUse:
    """KiB of the machine's memory, and what a part of it is for; `files` can be taken back."""

    total: int
    slab: int
    processes: int
    files: int

    def since(self, before: InUse) -> InUse:
        """What became more since an earlier look."""
        return InUse(
            self.total - before.total,
            self.slab - before.slab,
            self.processes - before.processes,
            self.files - before.files,
        )


def parse_meminfo(text: str) -> InUse:
    """Take the text of /proc/meminfo (proc_meminfo(5)) apart."""
    pairs = (line.partition(":") for line in text.splitlines())
    kib = {name: int(value.split()[0]) for name, _, value in pairs}
    files = kib["Cached"] - kib["Shmem"] + kib["Buffers"]
    return InUse(
        total=kib["MemTotal"] - kib["MemFree"] - files - kib.get("SwapCached", 0),
        slab=kib["Slab"],
        processes=kib["AnonPages"] + kib["Shmem"] + kib["PageTables"] + kib["KernelStack"],
        files=files,
    )


def in_use() -> InUse:
    """Look at the machine, once what nobody needs of the kernel's own objects is gone."""
    with suppress(OSError):
        DROP_CACHES.write_text("2")  # names and inodes that nobody uses, no content of files
    time.sleep(SETTLED)
    return parse_meminfo(MEMINFO.read_text())


def proportional_set_size(pid: int) -> int:
    """KiB of memory that the process accounts for (proc_pid_smaps_rollup(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    message = f"no Pss of process {pid}"
    raise ValueError(message)


def own_size() -> int:
    """KiB that this process accounts for."""
    return proportional_set_size(os.getpid())
