"""What is in use is what is neither free nor a cache of files."""

from __future__ import annotations

import os

import pytest

from memory_use import MEMINFO, InUse, own_size, parse_meminfo, proportional_set_size

TEXT = """\
MemTotal:        1000 kB
MemFree:          300 kB
Buffers:           20 kB
Cached:           200 kB
SwapCached:         5 kB
AnonPages:        150 kB
Shmem:             50 kB
Slab:              70 kB
KernelStack:        6 kB
PageTables:         4 kB
HugePages_Total:    0
"""


def test_what_is_in_use() -> None:
    """Memory that processes share by name counts; files, which can be read again, do not."""
    assert parse_meminfo(TEXT) == InUse(total=525, slab=70, processes=210, files=170)


def test_what_became_more() -> None:
    """Each part by itself."""
    more = parse_meminfo(TEXT).since(InUse(total=500, slab=60, processes=250, files=0))
    assert more == InUse(total=25, slab=10, processes=-40, files=170)


def test_this_machine_can_be_looked_at() -> None:
    """The kernel has all the lines that are read."""
    found = parse_meminfo(MEMINFO.read_text())
    assert 0 < found.slab < found.total
    assert 0 < found.processes < found.total


def test_a_process_accounts_for_itself() -> None:
    """An interpreter has some megabytes; a process that is gone has nothing."""
    assert own_size() == pytest.approx(proportional_set_size(os.getpid()), rel=0.2)
    assert own_size() > 1024
    with pytest.raises(OSError, match=r"\[Errno"):
        proportional_set_size(2**22 + 1)
