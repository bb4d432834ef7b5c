"""Sandboxes: namespaces that live on by descriptor alone."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import namespaces
from container_box import IDS

pytestmark = pytest.mark.root


def _fds() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def test_a_sandbox_outlives_its_maker_and_leaves_nothing() -> None:
    """Four new namespaces, no process, and nothing once they are closed."""
    before = _fds()
    sandbox = namespaces.create_sandbox(IDS, network=True)
    for name in ("user", "net", "ipc", "uts"):
        fd = getattr(sandbox, name)
        assert os.fstat(fd).st_ino != Path(f"/proc/self/ns/{name}").stat().st_ino
        assert not os.get_inheritable(fd)
    sandbox.close()
    assert _fds() == before


def test_a_sandbox_without_user_or_network_has_none() -> None:
    """Root stays root, and the host's network is the container's."""
    sandbox = namespaces.create_sandbox(None, network=False)
    assert sandbox.user is None
    assert sandbox.net is None
    sandbox.close()


@pytest.mark.parametrize("ids", [namespaces.IdRange(0, 0), namespaces.IdRange(2**32 - 1, 65536)])
def test_a_range_that_the_kernel_refuses_leaves_nothing(ids: namespaces.IdRange) -> None:
    """The error names the map, and the waiting child is gone."""
    before = _fds()
    with pytest.raises(KernelError, match="write `uid_map 0 "):
        namespaces.create_sandbox(ids, network=True)
    assert _fds() == before


def test_a_socket_lives_in_the_namespace_and_the_thread_does_not() -> None:
    """Only loopback is there, and this thread sees the host's interfaces as before."""
    sandbox = namespaces.create_sandbox(None, network=True)
    assert sandbox.net is not None
    home = Path("/proc/thread-self/ns/net").readlink()
    interfaces = socket.if_nameindex()
    with namespaces.socket_in_namespace(sandbox.net, socket.AF_INET, socket.SOCK_STREAM) as inside:
        assert Path("/proc/thread-self/ns/net").readlink() == home
        with pytest.raises(OSError, match="unreachable"):
            inside.connect(("127.0.0.1", 1))  # loopback is down in a new namespace
    assert socket.if_nameindex() == interfaces
    with pytest.raises(KernelError, match="socket: "):
        namespaces.socket_in_namespace(sandbox.net, 9999, socket.SOCK_STREAM)
    assert Path("/proc/thread-self/ns/net").readlink() == home
    sandbox.close()


def test_sandboxes_are_made_from_any_thread() -> None:
    """The child is tied to the thread that makes it, and that thread only."""
    made: list[namespaces.Sandbox] = []
    threads = [
        threading.Thread(target=lambda: made.append(namespaces.create_sandbox(IDS, network=False)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({os.fstat(sandbox.ipc).st_ino for sandbox in made}) == 4
    for sandbox in made:
        sandbox.close()


def test_words_name_the_kinds() -> None:
    """One kind, and several, read as English."""
    assert namespaces.words(namespaces.CLONE_NEWNET) == "network namespace"
    both = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS
    assert namespaces.words(both) == "pid and mount namespaces"
