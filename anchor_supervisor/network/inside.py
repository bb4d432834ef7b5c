"""What has to be done inside a container's network namespace, before anything runs in it.

The calling thread visits every namespace in turn and comes home. What it brings along is a netlink
socket of each, which goes on belonging to its namespace wherever it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final

from anchor_supervisor.errors import AnchorError, KernelError, NetworkError, SupervisionBug
from anchor_supervisor.kernel.libc import system_call
from anchor_supervisor.kernel.namespaces import CLONE_NEWNET
from anchor_supervisor.network.links import (
    LOOPBACK_INDEX,
    add_address,
    add_default_route,
    bring_up,
    find_link,
    index_of,
)
from anchor_supervisor.network.netlink import Message, Netlink, open_socket
from anchor_supervisor.network.plan import Endpoint

# Before any interface is made: what comes into being later inherits `default`, so no interface
# ever has an IPv6 address to test for duplicates or takes a router's word. The loopback keeps ::1.
# Forwarding would be inherited from the machine, and lead around an internal network.
_SETTINGS: Final = (
    ("/proc/sys/net/ipv4/ip_forward", b"0"),
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", b"1"),
)


def open_inside(net_fds: Sequence[int]) -> list[Netlink | AnchorError]:
    """Prepare each of these namespaces and open a netlink socket in it, in order.

    An entry is an error where that namespace could not be entered or set up. Blocking; the thread
    is where it was afterwards. The caller closes what it gets.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [_visit(net_fd) for net_fd in net_fds]
    finally:
        try:
            system_call("setns", home, CLONE_NEWNET)
        except KernelError as error:
            message = f"a thread is stuck in a container's network namespace: {error}"
            raise SupervisionBug(message) from error
        finally:
            os.close(home)


def configure(netlink: Netlink, endpoints: Iterable[Endpoint]) -> None:
    """Bring up the loopback, then each interface with its address; add the default route.

    `netlink` is one of `open_inside`, and the interfaces are there. Raises NetworkError.
    """
    wanted = list(endpoints)
    found = netlink.exchange(
        [bring_up(LOOPBACK_INDEX, "lo"), *(find_link(one.interface) for one in wanted)]
    )
    error = found[0].error()
    if error is not None:
        raise error
    messages: list[Message] = []
    for answer, one in zip(found[1:], wanted, strict=True):
        index = index_of(answer)
        messages += [add_address(index, one.address), bring_up(index, one.interface)]
        if one.gateway is not None:
            messages.append(add_default_route(index, one.gateway))
    netlink.perform(messages)


def _visit(net_fd: int) -> Netlink | AnchorError:
    """Leave the thread in that namespace; its system calls are about that one from then on."""
    try:
        system_call("setns", net_fd, CLONE_NEWNET, subject="a container's network namespace")
        for path, value in _SETTINGS:
            _write(path, value)
        return Netlink(open_socket())
    except AnchorError as error:
        return error
    except OSError as error:
        message = f"cannot prepare a container's network namespace: {error.strerror}"
        return NetworkError(message)


def _write(path: str, value: bytes) -> None:
    """Set a sysctl; a kernel without IPv6 has nothing to disable."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
