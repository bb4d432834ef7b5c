"""What has to be done inside a container's network namespace, before anything runs in it.

One thread visits every namespace in turn and then ends: it never has to find its way back. What
it brings along is a netlink socket of each, which goes on belonging to its namespace wherever it
is used.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

from attrs import frozen

from anchor_supervisor.errors import AnchorError, HostError, NetworkError
from anchor_supervisor.kernel.libc import library_call
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
    (Path("/proc/sys/net/ipv4/ip_forward"), "0"),
    (Path("/proc/sys/net/ipv6/conf/default/disable_ipv6"), "1"),
)


@final
@frozen
class _Visit:
    """The result of one namespace: a socket of it, or why there is none."""

    endpoint: socket.socket | None
    error: AnchorError | None = None


def open_inside(net_fds: Sequence[int]) -> list[Netlink | AnchorError]:
    """Prepare each of these namespaces and open a netlink socket in it, in order.

    An entry is an error where that namespace could not be entered or set up. Blocking; safe from
    any thread. The caller closes what it gets.
    """
    visits: list[_Visit] = []
    thread = threading.Thread(target=lambda: visits.extend(map(_visit, net_fds)))
    thread.start()
    thread.join()
    return [
        Netlink(visit.endpoint) if visit.endpoint is not None else _reason(visit)
        for visit in visits
    ]


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


def _visit(net_fd: int) -> _Visit:
    """Run in the visiting thread, which is in another namespace after each call."""
    endpoint = None
    try:
        library_call("setns", net_fd, CLONE_NEWNET, subject="a container's network namespace")
        for path, value in _SETTINGS:
            if path.exists():  # a kernel without IPv6 has nothing to disable
                path.write_text(value, encoding="ascii")
        endpoint = open_socket()
    except HostError as error:
        return _Visit(None, error)
    except OSError as error:
        message = f"cannot prepare a container's network namespace: {error.strerror}"
        return _Visit(None, NetworkError(message))
    return _Visit(endpoint)


def _reason(visit: _Visit) -> AnchorError:
    return visit.error or NetworkError("cannot prepare a container's network namespace")
