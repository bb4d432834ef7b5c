"""Processes by descriptor."""

from __future__ import annotations

import os
import select
import signal

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import pidfd, spawn, steps
from container_box import wait


@pytest.fixture
def sleeper() -> spawn.Child:
    """A child that sleeps until it is killed."""
    return spawn.spawn([steps.Execute(("/bin/sleep",), ("sleep", "1000"), ())])


def test_a_running_child_is_not_reaped_and_a_killed_one_is(sleeper: spawn.Child) -> None:
    """`reap` never waits; the descriptor is readable when there is an ending."""
    assert pidfd.reap(sleeper.pidfd) is None
    assert pidfd.send_signal(sleeper.pidfd, signal.SIGTERM)
    select.select([sleeper.pidfd], [], [])
    assert pidfd.reap(sleeper.pidfd) == pidfd.Ending(signal=signal.SIGTERM)
    assert not pidfd.send_signal(sleeper.pidfd, signal.SIGTERM)
    with pytest.raises(KernelError, match="waitid: No child processes"):
        pidfd.reap(sleeper.pidfd)
    sleeper.close()


def test_a_process_is_found_again_only_while_it_is_the_same(sleeper: spawn.Child) -> None:
    """Pid, start time and cgroup together; a pid alone is never enough."""
    known = pidfd.identify(sleeper.pid)
    assert known is not None
    again = pidfd.open_same(known)
    assert again is not None
    os.close(again)
    other = pidfd.Identity(known.pid, known.start_time + 1, known.cgroup)
    assert pidfd.open_same(other) is None
    moved = pidfd.Identity(known.pid, known.start_time, "/elsewhere")
    assert pidfd.open_same(moved) is None
    pidfd.send_signal(sleeper.pidfd, signal.SIGKILL)
    wait(sleeper)
    assert pidfd.identify(known.pid) is None
    assert pidfd.open_same(known) is None


def test_a_raw_status_is_read() -> None:
    """Exit codes and signals are told apart."""
    assert pidfd.ending_of_status(3 << 8) == pidfd.Ending(code=3)
    assert pidfd.ending_of_status(9 | 0x80) == pidfd.Ending(signal=9)
    assert (pidfd.Ending(code=3).shell_code, pidfd.Ending(signal=9).shell_code) == (3, 137)


def test_no_such_process_is_named() -> None:
    """The error says which pid."""
    with pytest.raises(KernelError, match="pidfd_open `4194304`: No such process"):
        pidfd.open_pidfd(4194304)
