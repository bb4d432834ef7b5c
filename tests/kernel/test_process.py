"""What the supervisor does to itself; done to a child that is thrown away."""

from __future__ import annotations

import os
import sys

import pytest

from anchor_supervisor.kernel import pidfd, spawn, steps
from container_box import wait

DUMPABLE = """
import ctypes
from anchor_supervisor.kernel import process
process.refuse_dumps()
print(ctypes.CDLL(None).prctl(3))
"""
FILES = """
import resource
from anchor_supervisor.kernel import process
assert process.raise_open_files() == 64 == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print("raised")
"""


ROOM = """
import os
from anchor_supervisor.kernel import process
before = os.listdir("/proc/self/fd")
process.raise_open_files()
for count in (1, 50, 10_000):
    process.make_room_for_files(count)
assert os.listdir("/proc/self/fd") == before
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["FDSize"]))
"""


@pytest.mark.parametrize(("script", "said"), [(DUMPABLE, "0"), (FILES, "raised"), (ROOM, "64")])
def test_the_supervisor_can_prepare_itself(script: str, said: str) -> None:
    """Nobody may trace it, and it may open as many files as the machine lets it."""
    read, write = os.pipe()
    plan: list[steps.Step] = [
        steps.SetLimit("nofile", 7, 32, 64),
        steps.SetStdio(0, write, write),
        steps.Execute((sys.executable,), (sys.executable, "-c", script), ()),
    ]
    child = spawn.spawn(plan)
    os.close(write)
    with os.fdopen(read) as output:
        assert output.read().strip() == said
    assert wait(child) == pidfd.Ending(code=0)
