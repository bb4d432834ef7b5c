"""A sandbox: the namespaces of a container that outlive its processes, held by descriptors alone.

They are made by a child that only waits, are opened through its /proc entry, and stay when it has
gone. Knows no container and no address; bringing an interface up is the network's business.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import KernelError, SupervisionBug
from anchor_supervisor.kernel import _spawn, libc
from anchor_supervisor.values import frozen

# clone(2), unshare(2)
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_KINDS: Final = (
    (CLONE_NEWUSER, "user"),
    (CLONE_NEWNET, "network"),
    (CLONE_NEWIPC, "ipc"),
    (CLONE_NEWUTS, "host name"),
    (CLONE_NEWPID, "pid"),
    (CLONE_NEWNS, "mount"),
    (CLONE_NEWCGROUP, "cgroup"),
)
_WALL: Final = 0x40000000


def words(flags: int) -> str:
    """Name the namespaces in `flags` for people: `pid, mount and cgroup namespaces`."""
    names = [name for flag, name in _KINDS if flags & flag]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{listed} namespace{'s' if len(names) > 1 else ''}"


@final
@frozen
class IdRange:
    """Host ids `first` to `first + count - 1` stand for 0 to `count - 1` inside."""

    first: int
    count: int = 65536

    def as_map(self) -> bytes:
        """Return the one line for uid_map and gid_map: user_namespaces(7)."""
        return f"0 {self.first} {self.count}\n".encode()


@final
@frozen
class Sandbox:
    """Namespace descriptors.

    `user` is None where root inside is root outside, `net` where the container uses the host's
    network.
    """

    user: int | None
    net: int | None
    ipc: int
    uts: int

    def close(self) -> None:
        """Let the namespaces go, once no process is in them either."""
        for fd in (self.user, self.net, self.ipc, self.uts):
            if fd is not None:
                os.close(fd)


def create_sandbox(ids: IdRange | None, *, network: bool) -> Sandbox:
    """Make the namespaces of one container; `ids` None: no user namespace. Takes about 0.7 ms.

    Raises KernelError: ENOSPC means user.max_*_namespaces is reached.
    """
    flags = CLONE_NEWIPC | CLONE_NEWUTS
    flags |= CLONE_NEWUSER if ids is not None else 0
    flags |= CLONE_NEWNET if network else 0
    try:
        pid, pidfd = _spawn.make_namespaces(flags)
    except _spawn.StepFailed as failed:
        raise KernelError(failed.args[0], f"make the {words(flags)}") from None
    try:
        proc = Path(f"/proc/{pid}")
        if ids is not None:
            _write_map(proc / "uid_map", ids)
            _write_map(proc / "gid_map", ids)
        return _open_namespaces(proc / "ns", user=ids is not None, network=network)
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | _WALL)
        os.close(pidfd)


def _write_map(path: Path, ids: IdRange) -> None:
    try:
        path.write_bytes(ids.as_map())
    except OSError as error:
        subject = f"{path.name} {ids.as_map().decode().strip()}"
        raise KernelError(error.errno or 0, "write", subject) from None


def _open_namespaces(directory: Path, *, user: bool, network: bool) -> Sandbox:
    with ExitStack() as opened:

        def open_one(name: str) -> int:
            try:
                fd = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise KernelError(error.errno or 0, "open", str(directory / name)) from None
            opened.callback(os.close, fd)
            return fd

        sandbox = Sandbox(
            user=open_one("user") if user else None,
            net=open_one("net") if network else None,
            ipc=open_one("ipc"),
            uts=open_one("uts"),
        )
        opened.pop_all()
        return sandbox


def socket_in_namespace(net: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Open a socket that lives in the network namespace `net`; this thread is back afterwards."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.system_call("setns", net, CLONE_NEWNET, subject="network namespace")
        try:
            return socket.socket(family, kind, protocol)
        except OSError as error:
            raise KernelError(error.errno or 0, "socket") from None
        finally:
            _go_home(home)
    finally:
        os.close(home)


def _go_home(home: int) -> None:
    try:
        libc.system_call("setns", home, CLONE_NEWNET)
    except KernelError as error:
        message = f"a thread is stuck in a container's network namespace: {error}"
        raise SupervisionBug(message) from error
