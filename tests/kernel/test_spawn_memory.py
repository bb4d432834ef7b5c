"""The memory that children run in until they have executed: kept, nobody else's, never leaked."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from anchor_supervisor.kernel import cgroup, pidfd, spawn, steps
from container_box import NEW, wait

pytestmark = pytest.mark.root

AGAIN = steps.CloneAgain(NEW, "new namespaces")
EXECUTE = steps.Execute(("/bin/true",), ("true",), ())


def _mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def _start_and_wait() -> None:
    assert wait(spawn.spawn([AGAIN, EXECUTE])) == pidfd.Ending(code=0)


@pytest.mark.parametrize("share_memory", [True, False])
def test_any_number_of_starts_takes_no_more_memory(share_memory: bool) -> None:
    """What a start has mapped serves the next one, or is gone."""
    _start_and_wait()
    before = _mappings()
    for _ in range(20):
        wait(spawn.spawn([AGAIN, EXECUTE], share_memory=share_memory))
        with pytest.raises(spawn.SpawnError):
            spawn.spawn([AGAIN, steps.ChangeDirectory("/absent", create=False), EXECUTE])
    assert _mappings() <= before


def test_starts_at_the_same_time_have_memory_of_their_own(data_dir: Path) -> None:
    """However many there are, and those that wait while others come and go."""
    fifos = [data_dir / f"fifo-{number}" for number in range(8)]
    root = os.open(data_dir, os.O_RDONLY)
    ends: list[pidfd.Ending] = []

    def start(fifo: Path) -> None:
        waits = steps.WriteBeneath(root, fifo.name, fifo.name)
        ends.append(wait(spawn.spawn([AGAIN, waits, EXECUTE])))

    threads = [threading.Thread(target=start, args=(fifo,)) for fifo in fifos]
    for fifo, thread in zip(fifos, threads, strict=True):
        os.mkfifo(fifo)
        thread.start()
    for fifo in fifos:
        _start_and_wait()
        assert fifo.read_text() == fifo.name
    for thread in threads:
        thread.join()
    assert ends == [pidfd.Ending(code=0)] * len(fifos)
    os.close(root)


def test_memory_that_a_child_may_be_in_is_never_used_again(
    data_dir: Path, group: cgroup.Cgroup
) -> None:
    """Where only the first child was killed, the second has lost the ground it stands on."""
    os.mkfifo(data_dir / "fifo")
    root, directory = os.open(data_dir, os.O_RDONLY), group.open()
    plan: list[steps.Step] = [AGAIN, steps.WriteBeneath(root, "fifo", "x"), EXECUTE]
    found: list[spawn.Child] = []
    thread = threading.Thread(target=lambda: found.append(spawn.spawn(plan, cgroup=directory)))
    thread.start()
    while len(group.processes()) < 2:
        assert thread.is_alive()
    os.kill(group.processes()[0], signal.SIGKILL)
    thread.join()
    for _ in range(10):
        _start_and_wait()
    # It may wait for a reader, or have ended before it came to that: this waits for no writer.
    fifo = os.open(data_dir / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert wait(found[0]) == pidfd.Ending(signal=signal.SIGSEGV)
    assert os.read(fifo, 1) in (b"", b"x")
    os.close(fifo)
    os.close(root)
    os.close(directory)


def test_a_fork_of_python_starts_children_of_its_own() -> None:
    """What was kept for the next start is each process's own then."""
    _start_and_wait()
    forked = os.fork()
    if forked == 0:
        code = 1
        try:
            _start_and_wait()
            code = 0
        finally:
            os._exit(code)
    for _ in range(20):
        _start_and_wait()
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
