"""What a fleet's kernel objects are called, so that one fleet's can be told from all others'.

Pure. Every name fits IFNAMSIZ (15 bytes and a NUL, netdevice(7)), and carries the fleet's identity:
the seven hexadecimal digits of `observability.places.fleet_id`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

ID_DIGITS: Final = 7
LONGEST_LINK_NAME: Final = 15

_BRIDGE, _VETH, _TABLE = "an", "av", "anchor_"
_VETH_NAMES: Final[int] = 16 ** (LONGEST_LINK_NAME - len(_VETH) - ID_DIGITS - 1)

_LINKS: Final = 1 << 30  # and up to the largest index there is, 2^31 - 1
_INSIDE_LINKS: Final = 64

# Locally administered unicast prefixes (the low two bits of the first byte are 10).
_INSIDE, _OUTSIDE = b"\x02\xac", b"\x06\xac"


def bridge_name(identity: str, index: int) -> str:
    """Name the bridge of the fleet's `index`-th network, such as `an0c1d2e3-0`."""
    return f"{_BRIDGE}{identity}-{index}"


def veth_name(identity: str, index: int) -> str:
    """Name a veth's end on the machine, such as `av0c1d2e3-1f`; wraps after 16^5."""
    return f"{_VETH}{identity}-{index % _VETH_NAMES:x}"


def veth_index(name: str) -> int:
    """Tell the index that `veth_name` put into `name`."""
    return int(name.rpartition("-")[2], 16)


def veth_link(identity: str, index: int) -> int:
    """Return the interface index on the machine of the veth of that index.

    It has to be said for the other end's to be heeded (veth(4), in the kernel's veth_newlink).
    Far above those that the kernel gives by itself; another fleet's are the same only by chance.
    """
    fleet = int(identity, 16) % (_LINKS // _VETH_NAMES)
    return _LINKS + fleet * _VETH_NAMES + index % _VETH_NAMES


def inside_index(number: int) -> int:
    """Return the interface index of a container's `number`-th interface, in its namespace.

    Above those of the tunnels that some kernels put into every new namespace.
    """
    return _INSIDE_LINKS + number


def bridge_prefix(identity: str) -> str:
    """Return how the names of all of the fleet's bridges begin."""
    return f"{_BRIDGE}{identity}-"


def veth_prefix(identity: str) -> str:
    """Return how the names of all of the fleet's veths begin."""
    return f"{_VETH}{identity}-"


def table_name(identity: str) -> str:
    """Name the fleet's nft table."""
    return f"{_TABLE}{identity}"


def link_group(identity: str) -> int:
    """Return the IFLA_GROUP of all the fleet's links. Never 0, the group of everybody else's."""
    return (1 << 4 * ID_DIGITS) | int(identity, 16)


def inside_mac(address: IPv4Address) -> bytes:
    """Return the MAC address of the interface that has `address`.

    Made of the address, so that a replaced container leaves no neighbour entry wrong.
    """
    return _INSIDE + address.packed


def outside_mac(address: IPv4Address) -> bytes:
    """Return the MAC address of the veth end that leads to `address` from the bridge."""
    return _OUTSIDE + address.packed


def address_behind(mac: bytes) -> IPv4Address | None:
    """Tell which address the veth end with this MAC address leads to; None: not made by us."""
    if len(mac) != len(_OUTSIDE) + 4 or not mac.startswith(_OUTSIDE):
        return None
    return IPv4Address(mac[len(_OUTSIDE) :])
