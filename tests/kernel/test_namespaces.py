"""Sandboxes: namespaces that live on by descriptor alone."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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
            inside.connect(("192.0.2.1", 1))  # no route leads anywhere
    assert socket.if_nameindex() == interfaces
    with pytest.raises(KernelError, match="socket: "):
        namespaces.socket_in_namespace(sandbox.net, 9999, socket.SOCK_STREAM)
    assert Path("/proc/thread-self/ns/net").readlink() == home
    sandbox.close()


def test_the_network_of_a_sandbox_is_set_up_from_within() -> None:
    """The loopback answers, with ::1; nothing is forwarded, and what comes later has no IPv6."""
    sandbox = namespaces.create_sandbox(IDS, network=True)
    assert sandbox.net is not None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with namespaces.socket_in_namespace(sandbox.net, family, socket.SOCK_STREAM) as inside:
            inside.bind((address, 0))
    assert _look_inside(sandbox.net, "ipv4/ip_forward") == "0"
    assert _look_inside(sandbox.net, "ipv6/conf/default/disable_ipv6") == "1"
    sandbox.close()


def _look_inside(net: int, setting: str) -> str:
    """Read a sysctl of a network namespace."""
    enter = ["nsenter", f"--net=/proc/self/fd/{net}"]
    look = [*enter, "cat", f"/proc/sys/net/{setting}"]
    return subprocess.run(
        look, check=True, capture_output=True, text=True, pass_fds=[net]
    ).stdout.strip()


T = TypeVar("T")

CALLS = {"x86_64": {"write": 1, "ioctl": 16}, "aarch64": {"write": 64, "ioctl": 29}}
ONE_BYTE = 1
"""The length that only a sysctl's value has: the maps are longer."""


def _refusing(call: str, position: int, value: int, number: int, act: Callable[[], T]) -> T:
    """Act on a kernel that refuses a system call with this argument: by seccomp, for one thread."""
    results: list[T | KernelError] = []

    def refused() -> None:
        _install_filter(CALLS[platform.machine()][call], position, value, number)
        try:
            results.append(act())
        except KernelError as error:
            results.append(error)

    thread = threading.Thread(target=refused)
    thread.start()
    thread.join()
    (result,) = results
    if isinstance(result, KernelError):
        raise result
    return result


def _install_filter(call: int, position: int, value: int, number: int) -> None:
    """Answer `number` to the call whose argument at `position` is `value`: seccomp(2)."""
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD | W | ABS, BPF_JMP | JEQ, BPF_RET
    lines = (
        (load, 0, 0, 0),
        (equal, 0, 3, call),
        (load, 0, 0, 16 + 8 * position),
        (equal, 0, 1, value),
        (answer, 0, 0, 0x00050000 | number),  # SECCOMP_RET_ERRNO
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(code)))
    set_seccomp, filter_mode = 22, 2
    assert ctypes.CDLL(None).prctl(set_seccomp, filter_mode, program, 0, 0) == 0


@pytest.mark.parametrize("request_number", [0xFF04, 0xFF09])
def test_an_old_kernel_opens_namespaces_by_proc(request_number: int) -> None:
    """Before Linux 6.11 a pidfd knows no ioctl: ENOTTY. The namespaces are the same."""
    before = _fds()
    sandbox = _refusing(
        "ioctl", 1, request_number, errno.ENOTTY,
        lambda: namespaces.create_sandbox(IDS, network=True),
    )  # fmt: skip
    for name in ("user", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/self/fd/{getattr(sandbox, name)}").startswith(f"{name}:[")
        assert not os.get_inheritable(getattr(sandbox, name))
    sandbox.close()
    assert _fds() == before


@pytest.mark.parametrize(
    ("call", "position", "value", "words"),
    [
        ("ioctl", 1, 0xFF09, "open `a container's user namespace`: "),
        ("ioctl", 1, 0xFF04, "open `a container's network namespace`: "),
        ("ioctl", 1, 0xFF02, "open `a container's ipc namespace`: "),
        ("ioctl", 1, 0xFF0A, "open `a container's uts namespace`: "),
        ("ioctl", 1, 0x8914, "set `a container's loopback up`: "),
        ("write", 2, ONE_BYTE, "set `net.ipv4.ip_forward of a container to 0`: "),
    ],
)
def test_a_step_that_is_refused_is_named_and_leaves_nothing(
    call: str, position: int, value: int, words: str
) -> None:
    """Whatever the kernel refuses: the error says what, and no descriptor or child is left."""
    before = _fds()
    with pytest.raises(KernelError, match=words) as caught:
        _refusing(call, position, value, errno.EPERM,
                  lambda: namespaces.create_sandbox(IDS, network=True))  # fmt: skip
    assert caught.value.errno == errno.EPERM
    assert _fds() == before
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | 0x40000000)  # __WALL


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
