"""Triggers for tasks that wait: told once, by name, and never for a group that is idle or gone."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.stalls import Stall, StallTriggers, read_stall
from waiting import DEADLINE


@contextmanager
def triggers() -> Iterator[StallTriggers[str]]:
    """Closed once nobody waits."""
    made: StallTriggers[str] = StallTriggers()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def busy(group: Cgroup) -> Iterator[None]:
    """More tasks in the group than there are processors, so that some wait."""
    join = f'echo 0 > "{group.path}/cgroup.procs"; while :; do :; done'
    with ExitStack() as stack:
        for _ in range(3 * (os.cpu_count() or 1)):
            spinner = subprocess.Popen(["/bin/sh", "-c", join])
            stack.callback(spinner.wait)
            stack.callback(spinner.kill)
        yield


@pytest.fixture
def stalling(group: Cgroup) -> Cgroup:
    """A group whose kernel keeps the figures."""
    if read_stall(group, "cpu.pressure") is None:
        pytest.skip("machine: no pressure stall information")
    return group


@pytest.mark.root
def test_a_group_that_stalls_is_told_by_its_key(stalling: Cgroup) -> None:
    """Of two groups the busy one, and again as long as it goes on; the figures grow."""
    idle, loaded = stalling.child("idle"), stalling.child("loaded")
    for one in (idle, loaded):
        one.create()
    with triggers() as watched, ThreadPoolExecutor(1) as thread:
        assert watched.add("idle", idle, "cpu.pressure", 100_000)
        assert watched.add("loaded", loaded, "cpu.pressure", 100_000)
        with busy(loaded):
            for _ in range(2):
                assert thread.submit(watched.wait).result(DEADLINE) == {"loaded"}
        stall = read_stall(loaded, "cpu.pressure")
        assert stall is not None
        assert stall.some_total >= 100_000
        watched.end()


@pytest.mark.root
def test_who_waits_can_be_let_go(stalling: Cgroup) -> None:
    """Before it begins or after, however many triggers there are."""
    with triggers() as watched, ThreadPoolExecutor(1) as thread:
        assert watched.add("idle", stalling, "cpu.pressure", 100_000)
        waiting = thread.submit(watched.wait)
        watched.end()
        assert waiting.result(DEADLINE) == frozenset()
        assert watched.wait() == frozenset()


@pytest.mark.root
def test_a_group_that_goes_wakes_nobody_for_ever(stalling: Cgroup) -> None:
    """Its file stays ready for ever (with EPOLLERR), which must not keep a processor busy."""
    inner = stalling.child("inner")
    inner.create()
    woken = threading.Semaphore(0)
    with triggers() as watched, ThreadPoolExecutor(1) as thread:
        assert watched.add("inner", inner, "cpu.pressure", 100_000)
        poll = watched._epoll.poll

        class Counted:
            """The epoll, and how often it returned."""

            unregister = watched._epoll.unregister
            close = watched._epoll.close

            def poll(self) -> list[tuple[int, int]]:
                found = poll()
                woken.release()
                return found

        watched._epoll = Counted()  # type: ignore[assignment]
        waiting = thread.submit(watched.wait)
        inner.remove()
        watched.end()
        assert waiting.result(DEADLINE) == frozenset()
        wakes = 0
        while woken.acquire(blocking=False):
            wakes += 1
        assert wakes <= 2
        watched.discard("inner")


@pytest.mark.root
def test_what_is_taken_back_is_not_told(stalling: Cgroup) -> None:
    """And its descriptor is closed; twice, and what never was, is fine."""
    with triggers() as watched:
        before = len(os.listdir("/proc/self/fd"))
        assert watched.add("one", stalling, "cpu.pressure", 100_000)
        watched.discard("one")
        watched.discard("one")
        watched.discard("other")
        assert len(os.listdir("/proc/self/fd")) == before


def test_without_the_kernels_figures_there_are_none(tmp_path: Path) -> None:
    """No file, a file that takes no trigger, and nothing is left open."""
    group = Cgroup(tmp_path)
    assert read_stall(group, "memory.pressure") is None
    with triggers() as watched:
        before = len(os.listdir("/proc/self/fd"))
        assert not watched.add("x", group, "memory.pressure", 100_000)
        (tmp_path / "memory.pressure").touch()  # a plain file cannot be waited for
        assert not watched.add("x", group, "memory.pressure", 100_000)
        assert len(os.listdir("/proc/self/fd")) == before


def test_the_figures_are_read_as_they_are_written(tmp_path: Path) -> None:
    """A kernel before 5.13 has no second line for the processor."""
    some = "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n"
    (tmp_path / "cpu.pressure").write_text(some)
    assert read_stall(Cgroup(tmp_path), "cpu.pressure") == Stall(1.5, 7)
    full = "full avg10=0.25 avg60=0.00 avg300=0.00 total=5\n"
    (tmp_path / "cpu.pressure").write_text(some + full)
    assert read_stall(Cgroup(tmp_path), "cpu.pressure") == Stall(1.5, 7, 0.25, 5)
