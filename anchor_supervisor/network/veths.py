"""The ports of a fleet's bridges: made for many containers at once, and which leads to whom."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import islice
from typing import Final, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.identity import (
    address_behind,
    veth_index,
    veth_link,
    veth_prefix,
)
from anchor_supervisor.network.links import (
    Link,
    explain,
    list_links,
    make_veth,
    mute_port,
    reflect,
    without_ipv6,
)
from anchor_supervisor.network.netlink import Answer, Message, Netlink
from anchor_supervisor.network.plan import Endpoint
from anchor_supervisor.values import frozen

# An old port may be gone at any moment, and takes its bridge port along; a kernel without IPv6
# has nothing to keep off.
_FORGIVEN: Final = frozenset({errno.ENODEV, errno.EOPNOTSUPP, errno.EAFNOSUPPORT})


@final
@frozen
class Wanted:
    """One interface to be made: the `place`-th of the namespace `net_fd`."""

    net_fd: int
    endpoint: Endpoint
    place: int


@final
@frozen
class _Made:
    """What the kernel said to all that was asked for one interface."""

    wanted: Wanted
    link: int
    joined: Answer
    others: tuple[Answer, ...]

    def error(self) -> NetworkError | None:
        """What went wrong; None where the interface is there."""
        refused = explain(self.joined, self.wanted.endpoint.bridge)
        if refused is not None:
            return refused
        others = (one.error() for one in self.others if one.errno not in _FORGIVEN)
        return next((error for error in others if error is not None), None)


@final
class Veths:
    """The veths of the fleet `identity`. Only for one thread at a time."""

    def __init__(self, identity: str) -> None:
        """Know of none yet."""
        self._identity = identity
        self._next = 0
        self._ports: dict[IPv4Address, int] = {}

    def remember(self, own: Iterable[Link]) -> None:
        """Learn from the links that are there which port leads to which address."""
        prefix = veth_prefix(self._identity)
        veths = [link for link in own if link.name.startswith(prefix)]
        for link in sorted(veths, key=lambda one: veth_index(one.name)):
            address = address_behind(link.mac)
            if address is not None:
                self._ports[address] = link.index
            self._next = max(self._next, veth_index(link.name) + 1)

    def reflections(self, endpoints: Iterable[Endpoint]) -> list[Message]:
        """Let the ports reflect that lead to those of `endpoints` that ask for it."""
        return [
            reflect(self._ports[one.address.ip])
            for one in endpoints
            if one.reflects and one.address.ip in self._ports
        ]

    def make(
        self, netlink: Netlink, masters: Mapping[str, int], several: Sequence[Wanted]
    ) -> list[NetworkError | None]:
        """Make all of them, in one round trip where they are few; say what went wrong with each.

        `masters` are the indexes of the bridges. A port that led to one of the addresses is closed.
        """
        made = list(self._try(netlink, masters, several))
        # An index may be another fleet's by a rare chance, or a name that of a veth of ours whose
        # bridge somebody took away: those once more, with numbers that nobody has.
        taken = [place for place, one in enumerate(made) if one.joined.errno == errno.EEXIST]
        if taken:
            self.remember(list_links(netlink, veth_prefix(self._identity)))
        again = self._try(netlink, masters, [several[place] for place in taken])
        for place, one in zip(taken, again, strict=True):
            made[place] = one
        for one in made:
            if not one.joined.errno:
                self._ports[one.wanted.endpoint.address.ip] = one.link
        return [one.error() for one in made]

    def _try(
        self, netlink: Netlink, masters: Mapping[str, int], several: Sequence[Wanted]
    ) -> Iterator[_Made]:
        asked: list[tuple[Wanted, int, list[Message]]] = []
        for one in several:
            number, self._next = self._next, self._next + 1
            link = veth_link(self._identity, number)
            master = masters[one.endpoint.bridge]
            made = make_veth(self._identity, number, master, one.endpoint, one.net_fd, one.place)
            messages = [made, without_ipv6(link)]
            if one.endpoint.reflects:
                messages.append(reflect(link))
            old = self._ports.pop(one.endpoint.address.ip, None)
            if old is not None:
                messages.append(mute_port(old))
            asked.append((one, link, messages))
        answers = iter(netlink.exchange([message for *_, of_one in asked for message in of_one]))
        for one, link, messages in asked:
            joined, *others = islice(answers, len(messages))
            yield _Made(one, link, joined, tuple(others))
