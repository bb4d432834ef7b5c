"""Bridges, veths, addresses and routes, said in rtnetlink. Knows plans, decides nothing.

Builders return messages, so that many containers travel in one round trip; readers return values.
A veth is never deleted by itself (its namespace takes it along, and 16 ms a piece are saved):
only the whole group of a fleet is, in one message.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.identity import (
    bridge_name,
    bridge_prefix,
    inside_index,
    inside_mac,
    link_group,
    outside_mac,
    veth_link,
    veth_name,
    veth_prefix,
)
from anchor_supervisor.network.leases import MAX_BRIDGE_PORTS, HostNetworks
from anchor_supervisor.network.netlink import (
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Answer,
    Message,
    Netlink,
    attribute,
    attributes,
    number,
    text,
)
from anchor_supervisor.network.plan import Bridge, Endpoint
from anchor_supervisor.values import frozen

LOOPBACK_INDEX = 1  # LOOPBACK_IFINDEX: the same in every network namespace

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _GETADDR, _NEWROUTE, _GETROUTE = 20, 22, 24, 26

_IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFADDR = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
_UP = 0x1

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 10, 18
_IFLA_PROTINFO = 12 | 0x8000  # NLA_F_NESTED tells it from the single byte of old
_IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 26, 27, 28, 29
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
_SKIP_STATISTICS = 0x8  # RTEXT_FILTER_SKIP_STATS
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_BR_STP_STATE, _BR_MCAST_SNOOPING = 5, 23
_PORT_STATE, _PORT_REFLECTS, _PORT_FLUSH = 1, 4, 24
_VETH_PEER = 1
_INET6_ADDRESS_GENERATION, _GENERATE_NONE = 8, b"\1"
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_TABLE_MAIN, _TABLE_LOCAL, _PROTOCOL_STATIC, _UNICAST = 254, 255, 4, 1
_TAKING_ROUTES = frozenset((_UNICAST, 6, 7, 8))  # and blackhole, unreachable, prohibit


@final
@frozen
class Link:
    """One interface of this machine. `master` is an index, 0 without one."""

    index: int
    name: str
    mac: bytes
    master: int
    group: int


def make_bridge(identity: str, bridge: Bridge) -> Message:
    """Make `bridge`, down, or set an existing one to what it should be."""
    options = number(_BR_STP_STATE, 0) + attribute(_BR_MCAST_SNOOPING, b"\0")
    body = (
        _link()
        + text(_IFLA_IFNAME, bridge.name)
        + attribute(_IFLA_ADDRESS, inside_mac(bridge.gateway.ip))
        + number(_IFLA_GROUP, link_group(identity))
        + attribute(_IFLA_LINKINFO, _BRIDGE_KIND + attribute(_INFO_DATA, options))
    )
    return Message(_NEWLINK, CREATE, body, "make the bridge", bridge.name)


def make_veth(
    identity: str, index: int, master: int, endpoint: Endpoint, net_fd: int, place: int = 0
) -> Message:
    """Make the fleet's veth `index`, a port of the bridge `master`; its other end is in `net_fd`.

    There it is the interface number `place`, with the index that goes with that. This end is up at
    once. The other, called `endpoint.interface`, cannot be (ENOTCONN): veth(4) ends know each
    other only when both are there.
    """
    body = (
        _link(veth_link(identity, index), flags=_UP)
        + text(_IFLA_IFNAME, veth_name(identity, index))
        + attribute(_IFLA_ADDRESS, outside_mac(endpoint.address.ip))
        + _ONE_QUEUE
        + number(_IFLA_MASTER, master)
        + number(_IFLA_GROUP, link_group(identity))
        + _veth_to(endpoint, net_fd, place)
    )
    return Message(_NEWLINK, CREATE | EXCLUSIVE, body, "join a port to", endpoint.bridge)


def make_sole_veth(
    identity: str, index: int, bridge: Bridge, endpoint: Endpoint, net_fd: int, place: int = 0
) -> Message:
    """Make the veth that stands in the place of `bridge`, down; else as `make_veth`."""
    body = (
        _link(veth_link(identity, index))
        + text(_IFLA_IFNAME, bridge.name)
        + attribute(_IFLA_ADDRESS, inside_mac(bridge.gateway.ip))
        + _ONE_QUEUE
        + number(_IFLA_GROUP, link_group(identity))
        + _veth_to(endpoint, net_fd, place)
    )
    return Message(_NEWLINK, CREATE | EXCLUSIVE, body, "make the veth", bridge.name)


def without_ipv6(index: int) -> Message:
    """Let a bridge port have no IPv6 address of its own accord; a kernel without IPv6 refuses.

    It would never use one, but make it known to the container, and its routes known to all.
    """
    return Message(_SETLINK, 0, _link(index) + _NO_IPV6, "keep a bridge port free of IPv6")


def reflect(index: int) -> Message:
    """Let the bridge send back through the port `index` what came from it.

    With br_netfilter, a container's packet to its own published port is translated inside the
    bridge, which else never returns a frame to its sender.
    """
    return Message(_NEWLINK, 0, _link(index) + _REFLECTS, "let a bridge port reflect")


def mute_port(index: int) -> Message:
    """Let nothing pass through the bridge port `index` any more, and forget who was behind it.

    A replaced container's port lives until its namespace is gone, and would answer for the
    address of its successor. Unlike taking it down, this waits for no RCU grace period; unlike
    IFLA_INFO_SLAVE_DATA, it makes no event that would open the port again.
    """
    options = attribute(_PORT_STATE, b"\0") + attribute(_PORT_FLUSH, b"")
    body = _IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0) + attribute(_IFLA_PROTINFO, options)
    return Message(_SETLINK, 0, body, "close a bridge port")


def bring_up(index: int, name: str) -> Message:
    """Set the interface `index` up; `name` is for the error."""
    return Message(_SETLINK, 0, _link(index, flags=_UP), "set up the interface", name)


def take_down(name: str) -> Message:
    """Set the interface `name` down: nothing passes through it any more."""
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, _UP) + text(_IFLA_IFNAME, name)
    return Message(_SETLINK, 0, body, "set down the interface", name)


def find_link(name: str) -> Message:
    """Ask for the interface `name`; read the answer with `index_of`."""
    body = _link() + number(_IFLA_EXT_MASK, _SKIP_STATISTICS) + text(_IFLA_IFNAME, name)
    return Message(_GETLINK, 0, body, "find the interface", name)


def index_of(answer: Answer) -> int:
    """Return the interface index in the answer to `find_link`. Raises NetworkError."""
    error = answer.error()
    if error is not None:
        raise error
    if answer.body is None:
        message = f"cannot {answer.message.intent}: the kernel gave no answer"
        raise NetworkError(message)
    return _read_link(answer.body).index


def add_address(index: int, address: IPv4Interface) -> Message:
    """Give `address` to the interface `index`; one that has it already keeps it."""
    prefix = address.network.prefixlen
    packed = address.packed
    broadcast = int(address) | (1 << address.max_prefixlen - prefix) - 1
    body = (
        _IFADDR.pack(socket.AF_INET, prefix, 0, 0, index)
        + attribute(_IFA_LOCAL, packed)
        + attribute(_IFA_ADDRESS, packed)
        + attribute(_IFA_BROADCAST, broadcast.to_bytes(len(packed), "big"))
    )
    return Message(_NEWADDR, CREATE | REPLACE, body, "add the address", address)


def add_default_route(index: int, gateway: IPv4Address) -> Message:
    """Send everything that is not on a network of its own through `gateway`."""
    body = (
        _ROUTE.pack(socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, 0, _UNICAST, 0)
        + attribute(_RTA_GATEWAY, gateway.packed)
        + number(_RTA_OIF, index)
    )
    return Message(_NEWROUTE, CREATE | EXCLUSIVE, body, "route through", gateway)


def delete_link(name: str) -> Message:
    """Delete the interface `name`."""
    return Message(_DELLINK, 0, _link() + text(_IFLA_IFNAME, name), "delete", name)


def delete_group(identity: str) -> Message:
    """Delete every link of the fleet at once; ENODEV where there is none."""
    group = link_group(identity)
    body = _link() + number(_IFLA_GROUP, group)
    return Message(_DELLINK, 0, body, "delete the links of the fleet", identity)


def list_links(netlink: Netlink, *prefixes: str) -> tuple[Link, ...]:
    """Return the interfaces whose names begin with one of `prefixes`. Raises NetworkError."""
    return tuple(link for link in _links(netlink, b"") if link.name.startswith(prefixes))


def own_links(netlink: Netlink, identity: str) -> tuple[Link, ...]:
    """Return the fleet's bridges, or what stands for one, then the veths on each.

    The kernel picks them out: a machine may have thousands of others. Raises NetworkError.
    """
    bridges = _own_bridges(netlink, identity)
    prefix = veth_prefix(identity)
    veths = [
        link
        for bridge in bridges
        for link in _links(netlink, number(_IFLA_MASTER, bridge.index))
        if link.master == bridge.index and link.name.startswith(prefix)
    ]
    return (*bridges, *veths)


def host_networks(netlink: Netlink, identity: str) -> HostNetworks:
    """Return the IPv4 networks in use, without those of the fleet's own bridges.

    The default route takes nothing. Raises NetworkError.
    """
    own = {link.index for link in _own_bridges(netlink, identity)}
    return HostNetworks(
        connected=frozenset(_connected(netlink, own)), routed=frozenset(_routed(netlink, own))
    )


def explain(answer: Answer, bridge: str) -> NetworkError | None:
    """Return a refused `make_veth` as an error; a full bridge gets words and a remedy."""
    if answer.errno == errno.EXFULL:
        message = f"bridge `{bridge}` is full: one bridge has {MAX_BRIDGE_PORTS} ports"
        return NetworkError(message, hint="spread the containers over several networks")
    return answer.error()


_BRIDGE_KIND, _VETH_KIND = text(_INFO_KIND, "bridge"), text(_INFO_KIND, "veth")

# A queue for each processor, the default, is of use to XDP alone, and a quarter of a veth's cost
# with two processors; with sixty-four it would be the most of it.
_ONE_QUEUE = number(_IFLA_NUM_TX_QUEUES, 1) + number(_IFLA_NUM_RX_QUEUES, 1)

_NO_IPV6 = attribute(
    _IFLA_AF_SPEC,
    attribute(socket.AF_INET6, attribute(_INET6_ADDRESS_GENERATION, _GENERATE_NONE)),
)

_REFLECTS = attribute(
    _IFLA_LINKINFO,
    text(_INFO_SLAVE_KIND, "bridge")
    + attribute(_INFO_SLAVE_DATA, attribute(_PORT_REFLECTS, b"\1")),
)


def _link(index: int = 0, *, flags: int = 0) -> bytes:
    """Begin a link message. The change mask is the flags: those set are the ones meant."""
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, flags, flags)


def _veth_to(endpoint: Endpoint, net_fd: int, place: int) -> bytes:
    """Say of a link that it is a veth, and what its other end is."""
    peer = (
        _link(inside_index(place))
        + text(_IFLA_IFNAME, endpoint.interface)
        + attribute(_IFLA_ADDRESS, inside_mac(endpoint.address.ip))
        + _ONE_QUEUE
        + number(_IFLA_NET_NS_FD, net_fd)
    )
    data = attribute(_INFO_DATA, attribute(_VETH_PEER, peer))
    return attribute(_IFLA_LINKINFO, _VETH_KIND + data)


def _read_link(body: bytes) -> Link:
    _, _, index, _, _ = _IFINFO.unpack_from(body)
    found = attributes(body, _IFINFO.size)
    return Link(
        index=index,
        name=found[_IFLA_IFNAME].rstrip(b"\0").decode(errors="surrogateescape"),
        mac=found.get(_IFLA_ADDRESS, b""),
        master=_number(found.get(_IFLA_MASTER)),
        group=_number(found.get(_IFLA_GROUP)),
    )


def _number(value: bytes | None) -> int:
    return 0 if value is None else int(struct.unpack("=I", value)[0])


def _own_bridges(netlink: Netlink, identity: str) -> list[Link]:
    bridges = _links(netlink, attribute(_IFLA_LINKINFO, _BRIDGE_KIND))
    own = [link for link in bridges if link.name.startswith(bridge_prefix(identity))]
    if own:
        return own
    # A fleet with a sole veth has that alone: its first network is the only one.
    [sole] = netlink.exchange([find_link(bridge_name(identity, 0))])
    return [] if sole.body is None else [_read_link(sole.body)]


def _links(netlink: Netlink, picked: bytes) -> Iterator[Link]:
    """Yield the interfaces that this attribute picks; a kernel that knows no such, all."""
    request = _link() + number(_IFLA_EXT_MASK, _SKIP_STATISTICS) + picked
    return map(_read_link, netlink.dump(Message(_GETLINK, 0, request, "list the interfaces")))


def _connected(netlink: Netlink, own: set[int]) -> Iterator[IPv4Network]:
    request = _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)
    for body in netlink.dump(Message(_GETADDR, 0, request, "list the addresses")):
        _, prefix, _, _, index = _IFADDR.unpack_from(body)
        address = attributes(body, _IFADDR.size).get(_IFA_ADDRESS)
        if index not in own and address is not None:
            yield IPv4Network((address, prefix), strict=False)


def _routed(netlink: Netlink, own: set[int]) -> Iterator[IPv4Network]:
    request = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    for body in netlink.dump(Message(_GETROUTE, 0, request, "list the routes")):
        _, prefix, _, _, short_table, _, _, kind, _ = _ROUTE.unpack_from(body)
        found = attributes(body, _ROUTE.size)
        table = _number(found.get(_RTA_TABLE)) or short_table
        destination = found.get(_RTA_DST)
        if kind not in _TAKING_ROUTES or table == _TABLE_LOCAL or destination is None:
            continue
        if _number(found.get(_RTA_OIF)) not in own:
            yield IPv4Network((destination, prefix), strict=False)
