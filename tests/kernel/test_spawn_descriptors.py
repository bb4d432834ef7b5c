"""What a child holds of the supervisor's descriptors: what its steps name, and nothing else."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import cgroup, namespaces, pidfd, spawn, steps
from container_box import NEW, Box, wait

pytestmark = pytest.mark.root

MANY: Final = 2000
AGAIN: Final = steps.CloneAgain(NEW, namespaces.words(NEW))
EXECUTE: Final = steps.Execute(("/bin/true",), ("true",), ())


@contextmanager
def _many_open() -> Iterator[None]:
    """Hold two thousand descriptors that no child has any business with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(MANY)]
    try:
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _hanging(place: Path, group: cgroup.Cgroup, *named: steps.Step) -> Iterator[tuple[int, ...]]:
    """Two children in the midst of their steps, the second waiting for ever; killed afterwards."""
    os.mkfifo(place / "fifo")
    directory, born = os.open(place, os.O_RDONLY), group.open()
    hang = [steps.WriteBeneath(directory, "fifo", "nobody reads")] * 3
    plan = [*named, AGAIN, *hang, EXECUTE]
    ends: list[pidfd.Ending] = []
    thread = threading.Thread(target=lambda: ends.append(wait(spawn.spawn(plan, cgroup=born))))
    thread.start()
    while len(group.processes()) < 2:
        assert thread.is_alive()
    try:
        yield group.processes()
    finally:
        os.kill(group.processes()[-1], signal.SIGKILL)
        thread.join()
        os.close(directory)
        os.close(born)
    assert ends == [pidfd.Ending(signal=signal.SIGKILL)]


def _held(pid: int) -> list[str]:
    """What a process has open beside its standard three, by what it leads to."""
    open_files = Path(f"/proc/{pid}/fd")
    return sorted(str(entry.readlink()) for entry in open_files.iterdir() if int(entry.name) > 2)


def test_both_children_hold_what_the_steps_name_once_and_nothing_else(
    data_dir: Path, group: cgroup.Cgroup, box: Box
) -> None:
    """Also where a descriptor is named often, and the supervisor has two thousand of others."""
    net = box.sandbox.net
    assert net is not None
    named = [str(data_dir), Path(f"/proc/self/fd/{net}").readlink()]
    join = steps.JoinNamespace(net, namespaces.CLONE_NEWNET, "network namespace")
    with _many_open(), _hanging(data_dir, group, join) as pids:
        for pid in pids:
            report, *others = sorted(_held(pid), key=lambda link: not link.startswith("pipe:"))
            assert report.startswith("pipe:[")
            assert others == sorted(map(str, named))


def test_a_child_that_hangs_pins_nothing(data_dir: Path, group: cgroup.Cgroup) -> None:
    """What the supervisor closes while a child is on its way is closed."""
    read, write = os.pipe2(os.O_NONBLOCK)
    with _hanging(data_dir, group):
        os.close(write)
        assert os.read(read, 1) == b""
    os.close(read)


def test_what_is_closed_after_a_start_is_closed(box: Box) -> None:
    """Neither a child nor whoever made it holds what it was given when the start is over."""
    for init in (True, False):
        read, write = os.pipe2(os.O_NONBLOCK)
        given = [steps.WriteBeneath(write, "absent", "x")]
        with pytest.raises(spawn.SpawnError):
            box.run("true", inside=given, init=init)
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)


@pytest.mark.parametrize("init", [True, False])
def test_a_container_starts_among_two_thousand_descriptors(box: Box, init: bool) -> None:
    """Numbers beyond those of the other tests lead to the same files."""
    with _many_open():
        out = box.run("sh", "-c", "cd /proc/$$/fd; echo *", init=init)
    assert set(out.output.split()) <= {"0", "1", "2", "3", "10"}
    assert out.ending == pidfd.Ending(code=0)


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("share_memory", [True, False])
def test_a_container_may_have_as_few_files_as_init_needs(
    box: Box, init: bool, share_memory: bool
) -> None:
    """Its own limit is in force while its last steps are taken, whatever these still hold."""
    few: list[steps.Step] = [steps.SetLimit("nofile", resource.RLIMIT_NOFILE, 5, 5)]
    status = os.memfd_create("status")
    out = box.run(
        "echo", "said", last=few, init=init, share_memory=share_memory,
        status=status if init else None,
    )  # fmt: skip
    os.close(status)
    assert (out.output, out.ending) == ("said\n", pidfd.Ending(code=0))


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _lowest_free() -> int:
    """A limit of as much lets nobody open anything."""
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    return lowest


def test_a_start_needs_two_numbers_of_the_supervisors() -> None:
    """Where it may open so few a child starts; with fewer it is refused, and leaves nothing."""
    plan: list[steps.Step] = [steps.SetStdio(0, 0, 0), EXECUTE]
    low = _lowest_free()
    with _at_most(low + 2):
        assert wait(spawn.spawn(plan)) == pidfd.Ending(code=0)
    for room in (0, 1):
        with _at_most(low + room), pytest.raises(KernelError) as raised:
            spawn.spawn(plan)
        assert raised.value.errno == errno.EMFILE
    assert _lowest_free() == low
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | 0x40000000)  # __WALL


WITHOUT_THREE: Final = """
import os, sys
from anchor_supervisor.kernel import pidfd, spawn, steps
there, out = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[1] + "/out", os.O_RDWR)
for fd in range(3):
    os.close(fd)
said = os.open(sys.argv[1] + "/said", os.O_WRONLY)  # 0, which is then the container's to overwrite
plan = [
    steps.CloneAgain(0, "x"),
    steps.SetStdio(out, out, said),
    steps.WriteBeneath(there, "there", "still there"),
    steps.Execute(("/bin/sh",), ("sh", "-c", "echo out; echo said >&2; exit 3"), ()),
]
child = spawn.spawn(plan)
os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOWAIT)
assert pidfd.reap(child.pidfd) == pidfd.Ending(code=3)
"""


def test_a_supervisor_without_standard_files_starts_children(data_dir: Path) -> None:
    """Numbers below three are overwritten in a child, so nothing it still needs may be there."""
    for name in ("out", "said", "there"):
        (data_dir / name).touch()
    subprocess.run([sys.executable, "-c", WITHOUT_THREE, str(data_dir)], check=True)
    assert [(data_dir / name).read_text() for name in ("out", "said", "there")] == [
        "out\n", "said\n", "still there",
    ]  # fmt: skip


def test_starts_of_several_threads_keep_their_descriptors_apart() -> None:
    """Each child has its own pipe, while numbers are taken and given back all around it."""
    said: dict[str, bytes] = {}

    def start(name: str) -> None:
        for number in range(30):
            read, write = os.pipe()
            words = f"{name} {number}"
            echo = steps.Execute(("/bin/echo",), ("echo", words), ())
            child = spawn.spawn([steps.SetStdio(0, write, write), echo])
            os.close(write)
            with os.fdopen(read, "rb") as output:
                said[words] = output.read()
            assert wait(child) == pidfd.Ending(code=0)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {words: f"{words}\n".encode() for words in said}
    assert len(said) == 90
