"""A sandbox: the namespaces of a container that outlive its processes, held by descriptors alone.

They are made by a child that sets up its loopback, are opened while it is there, and stay when it
has gone. Knows no container and no address; every other interface is the network's business.
"""

from __future__ import annotations

import os
import socket
from typing import Final, final

from anchor_supervisor.errors import KernelError, SupervisionBug
from anchor_supervisor.kernel import _spawn, libc
from anchor_supervisor.kernel.own_proc import OwnProc
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
# What each step of `_sandbox.h` does, after the first.
_STEPS: Final = (
    ("write", "uid_map {map}"),
    ("write", "gid_map {map}"),
    ("open", "a container's user namespace"),
    ("open", "a container's network namespace"),
    ("open", "a container's ipc namespace"),
    ("open", "a container's uts namespace"),
    ("set", "net.ipv4.ip_forward of a container to 0"),
    ("set", "net.ipv6.conf.default.disable_ipv6 of a container to 1"),
    ("set", "a container's loopback up"),
    ("wait", "for the child that sets up namespaces"),
)


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


def create_sandbox(ids: IdRange | None, *, network: bool, proc: OwnProc | None = None) -> Sandbox:
    """Make the namespaces of one container; `ids` None: no user namespace. Takes about 0.5 ms.

    In a network namespace the loopback is up, nothing is forwarded, and what comes into being
    later has no IPv6: set through `proc` where there may be many. Raises KernelError: ENOSPC means
    user.max_*_namespaces is reached.
    """
    flags = CLONE_NEWIPC | CLONE_NEWUTS
    flags |= CLONE_NEWUSER if ids is not None else 0
    flags |= CLONE_NEWNET if network else 0
    id_map = b"" if ids is None else ids.as_map()
    opened = proc.open() if network and proc is not None else None
    try:
        user, net, ipc, uts = _spawn.make_namespaces(
            flags, id_map, -1 if opened is None else opened
        )
    except _spawn.StepFailed as failed:
        raise _refusal(failed.args[0], failed.args[1], flags, ids) from None
    finally:
        if opened is not None:
            os.close(opened)
    return Sandbox(user if ids is not None else None, net if network else None, ipc, uts)


def _refusal(number: int, step: int, flags: int, ids: IdRange | None) -> KernelError:
    """Put a failure of `_sandbox.c` into words."""
    if step == 0:
        return KernelError(number, f"make the {words(flags)}")
    map_line = "" if ids is None else ids.as_map().decode().strip()
    operation, subject = _STEPS[step - 1]
    return KernelError(number, operation, subject.format(map=map_line))


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
