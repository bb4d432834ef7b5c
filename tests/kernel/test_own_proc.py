"""A procfs of our own: few namespaces are set up through one, and nothing of it is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.kernel import _spawn, filesystem, libc, namespaces, own_proc
from container_box import IDS

pytestmark = pytest.mark.root


def _fds() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def _nothing_of_ours_is_left() -> Iterator[None]:
    """Compare descriptors before and after."""
    before = _fds()
    yield
    assert _fds() == before


@pytest.fixture
def proc(_nothing_of_ours_is_left: None) -> Iterator[own_proc.OwnProc]:
    """One that is closed before the comparison."""
    made = own_proc.OwnProc()
    yield made
    made.close()


def _opened(proc: own_proc.OwnProc) -> int:
    """Which procfs is handed out now."""
    fd = proc.open()
    assert filesystem.file_system(fd) == "proc"
    assert not os.get_inheritable(fd)
    assert os.stat("self", dir_fd=fd)
    device = os.fstat(fd).st_dev
    os.close(fd)
    return device


def test_a_procfs_serves_a_few_and_then_another_does(proc: own_proc.OwnProc) -> None:
    """None of them is the machine's, and each serves as many."""
    devices = [_opened(proc) for _ in range(3 * own_proc.USES)]
    generations = [
        set(devices[n : n + own_proc.USES]) for n in range(0, len(devices), own_proc.USES)
    ]
    assert [len(one) for one in generations] == [1, 1, 1]
    assert generations[0] != generations[1] != generations[2]
    assert Path("/proc").stat().st_dev not in devices


def test_what_was_handed_out_stays_when_another_has_come(proc: own_proc.OwnProc) -> None:
    """Somebody may be at work in the last one still."""
    first = proc.open()
    for _ in range(2 * own_proc.USES):
        _opened(proc)
    assert os.stat("sys/net/ipv4", dir_fd=first)
    os.close(first)


@pytest.mark.parametrize("ids", [None, IDS])
def test_a_sandbox_is_set_up_through_it(
    proc: own_proc.OwnProc, ids: namespaces.IdRange | None
) -> None:
    """It is the new namespace that is set, whatever was set through the procfs before."""
    made = [namespaces.create_sandbox(ids, network=True, proc=proc) for _ in range(3)]
    for sandbox in made:
        assert sandbox.net is not None
        assert _read_inside(sandbox.net, "ipv4/ip_forward") == "0\n"
        assert _read_inside(sandbox.net, "ipv6/conf/default/disable_ipv6") == "1\n"
        sandbox.close()


def _read_inside(net: int, setting: str) -> str:
    """Read a setting of a network namespace by a thread that is in it."""
    read: list[str] = []

    def look() -> None:
        libc.system_call("setns", net, namespaces.CLONE_NEWNET)
        read.append(Path(f"/proc/sys/net/{setting}").read_text())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return read[0]


def test_several_threads_make_sandboxes_through_one(proc: own_proc.OwnProc) -> None:
    """While it is renewed under their hands."""
    failures: list[BaseException] = []

    def make() -> None:
        try:
            for _ in range(own_proc.USES):
                namespaces.create_sandbox(IDS, network=True, proc=proc).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_sandbox_without_network_uses_none(proc: own_proc.OwnProc) -> None:
    """There is nothing to set: it does not count."""
    device = _opened(proc)
    for _ in range(own_proc.USES):
        namespaces.create_sandbox(None, network=False, proc=proc).close()
    assert _opened(proc) == device


def test_what_is_no_procfs_is_named_and_leaves_nothing() -> None:
    """The first setting fails; no child is left, nor a namespace."""
    with pytest.raises(_spawn.StepFailed) as raised:
        _spawn.make_namespaces(namespaces.CLONE_NEWNET, b"", 1_000_000)
    assert raised.value.args[1] == len(("make", "uid", "gid", "user", "net", "ipc", "uts"))
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | 0x40000000)  # __WALL
