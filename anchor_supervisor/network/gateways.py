"""A network's end on this machine, its gateway: a bridge, or the veth of the only member.

A network that has one member for good needs no bridge: a veth whose outer end has the bridge's
name and address serves the same rules and routes. To delete a bridge takes the kernel at least
30 ms, in which whoever waits for a command waits for nothing else; a veth takes less than half.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.identity import veth_link
from anchor_supervisor.network.links import add_address, bring_up, delete_link, make_sole_veth
from anchor_supervisor.network.netlink import Message, Netlink
from anchor_supervisor.network.plan import Bridge
from anchor_supervisor.network.veths import Wanted

# route_localnet lets 127.0.0.1 lead to a container (the firewall's guard makes it safe); strict
# rp_filter drops what claims to come from another network.
_SETTINGS: Final = (
    ("/proc/sys/net/ipv6/conf/{name}/disable_ipv6", b"1"),
    ("/proc/sys/net/ipv4/conf/{name}/route_localnet", b"1"),
    ("/proc/sys/net/ipv4/conf/{name}/rp_filter", b"1"),
    ("/proc/sys/net/ipv4/conf/{name}/accept_redirects", b"0"),
    ("/proc/sys/net/ipv4/conf/{name}/send_redirects", b"0"),
)

_ATTEMPTS: Final = 16


def configure_gateway(bridge: Bridge) -> None:
    """Set what holds for the gateway of every network, before it is up. Raises NetworkError."""
    for template, value in _SETTINGS:
        path = template.format(name=bridge.name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a kernel without IPv6 has nothing to disable
        except OSError as error:
            raise _refused(path, value, error) from error
        try:
            if os.read(fd, 16).strip() != value:
                os.pwrite(fd, value, 0)
        except OSError as error:
            raise _refused(path, value, error) from error
        finally:
            os.close(fd)


def open_gateway(bridge: Bridge, index: int) -> tuple[Message, Message]:
    """Give the interface `index` the gateway's address, and set it up."""
    return add_address(index, bridge.gateway), bring_up(index, bridge.name)


def join_sole(
    netlink: Netlink, identity: str, bridge: Bridge, wanted: Wanted
) -> NetworkError | None:
    """Make the veth of the only member there will be; say what went wrong.

    A veth that led to an earlier namespace of it is deleted.
    """
    for number in range(_ATTEMPTS):
        message = make_sole_veth(
            identity, number, bridge, wanted.endpoint, wanted.net_fd, wanted.place
        )
        [made] = netlink.exchange([message])
        if made.errno != errno.EEXIST:
            break
        # Our own by name; or, by a rare chance, another fleet's by its index: then the next.
        netlink.perform([delete_link(bridge.name)], forgive=(errno.ENODEV,))
    if made.errno:
        return made.error()
    try:
        configure_gateway(bridge)
        netlink.perform(open_gateway(bridge, veth_link(identity, number)))
    except NetworkError as error:
        return error
    return None


def _refused(path: str, value: bytes, error: OSError) -> NetworkError:
    message = f"cannot set `{path}` to `{value.decode()}`: {error.strerror}"
    return NetworkError(message)
