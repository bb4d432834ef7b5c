"""Which subnet a network has and which address an instance has, for the fleet's life.

Pure: what the machine already uses is handed in. The same fleet on the same machine gets the same
answer; a fleet that changes while it runs hands in its earlier leases and keeps them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.fleet.model import InstanceId, Network
from anchor_supervisor.values import field, frozen

POOL: Final = IPv4Network("10.88.0.0/16")
MAX_BRIDGE_PORTS: Final = 1023
"""BR_MAX_PORTS is 1 << 10, and port number 0 is never given (net/bridge/br_private.h)."""

_USUAL_PREFIX = 24
_RESERVED = 3  # the network's own address, the gateway's, and broadcast
_WIDEST_PREFIX, _NARROWEST_PREFIX = 8, 30

Claims = Sequence[tuple[InstanceId, IPv4Address | None]]
"""Who wants an address on a network, in file order; None: any."""


@final
@frozen
class HostNetworks:
    """The IPv4 networks that this machine uses for something else.

    `connected` are those of its own addresses, `routed` those it has a route to.
    """

    connected: frozenset[IPv4Network] = frozenset()
    routed: frozenset[IPv4Network] = frozenset()


@final
@frozen
class NetworkLease:
    """What one network holds: the number in its bridge's name, its subnet, its addresses."""

    index: int
    subnet: IPv4Network
    addresses: Mapping[InstanceId, IPv4Address] = field(factory=lambda: MappingProxyType({}))

    @property
    def gateway(self) -> IPv4Address:
        """The bridge's own address: the first of the subnet."""
        return self.subnet.network_address + 1


Leases = Mapping[str, NetworkLease]
"""By the network's name."""


def lease_networks(
    identity: str,
    wanted: Mapping[Network, int],
    host: HostNetworks,
    previous: Leases,
    busy: frozenset[int] = frozenset(),
) -> dict[str, NetworkLease]:
    """Give each network a bridge number and a subnet; `wanted` says how many addresses it needs.

    Declared subnets first, then kept ones, then a free block of 10.88.0.0/16 whose search starts
    at a place made of the fleet's id. A network whose subnet changes gets another bridge: the old
    one's containers stay on it until they are replaced. `busy` are numbers of bridges that stand
    yet. Raises NetworkError where one does not fit or none is free.
    """
    subnets: dict[str, IPv4Network] = {}
    for network, needed in wanted.items():
        if network.subnet is not None:
            declared = _declared(network, needed)
            if not _is_kept(declared, previous.get(network.name)):
                _refuse_overlap(network.name, declared, host)
            subnets[network.name] = declared
    for network in wanted:
        if network.name not in subnets and network.name in previous:
            subnets[network.name] = previous[network.name].subnet
    _refuse_mutual_overlap(subnets)
    for network, needed in wanted.items():
        if network.name not in subnets:
            used = {*host.connected, *host.routed, *subnets.values()}
            subnets[network.name] = _free_block(identity, network.name, needed, used)
    indexes = _indexes(subnets, previous, busy)
    return {
        network.name: NetworkLease(indexes[network.name], subnets[network.name])
        for network in wanted
    }


def lease_addresses(
    name: str, lease: NetworkLease, claims: Claims, previous: NetworkLease | None
) -> NetworkLease:
    """Give every claimant an address of the subnet: fixed ones first, then kept, then in order.

    Addresses of instances that are gone stay theirs until no other is left. Raises NetworkError.
    """
    if len(claims) > MAX_BRIDGE_PORTS:
        message = (
            f"network `{name}`: {len(claims)} containers do not fit on one bridge, "
            f"which has {MAX_BRIDGE_PORTS} ports"
        )
        raise NetworkError(message, hint="spread the containers over several networks")
    given = _fixed_addresses(name, lease, claims)
    taken = set(given.values())
    departed: dict[InstanceId, IPv4Address] = {}
    claimants = {instance for instance, _ in claims}
    for instance, address in (previous.addresses if previous else {}).items():
        if address in taken or instance in given or not _is_usable(lease, address):
            continue
        (given if instance in claimants else departed)[instance] = address
        taken.add(address)
    free = _unused(lease, taken)
    for instance, _ in claims:
        if instance not in given:
            unused = next(free, None) or _reuse(departed)
            if unused is None:
                message = (
                    f"network `{name}`: no address is left in `{lease.subnet}` for `{instance}`"
                )
                raise NetworkError(message, hint="declare a larger `subnet` for this network")
            given[instance] = unused
    ordered = {instance: given[instance] for instance, _ in claims}
    return NetworkLease(lease.index, lease.subnet, MappingProxyType(ordered | departed))


def _declared(network: Network, needed: int) -> IPv4Network:
    try:
        subnet = IPv4Network(network.subnet or "")
    except ValueError as error:
        message = (
            f"network `{network.name}`: subnet `{network.subnet}` is not an IPv4 network: {error}"
        )
        raise NetworkError(message, hint="write it as 10.88.5.0/24") from None
    unfit = subnet.is_loopback or subnet.is_multicast or subnet.is_reserved or subnet.is_link_local
    if unfit or not _WIDEST_PREFIX <= subnet.prefixlen <= _NARROWEST_PREFIX:
        message = f"network `{network.name}`: subnet `{subnet}` cannot hold containers"
        hint = (
            f"take a private one between /{_WIDEST_PREFIX} and /{_NARROWEST_PREFIX}, "
            "such as 10.88.5.0/24"
        )
        raise NetworkError(message, hint=hint)
    if subnet.num_addresses - _RESERVED < needed:
        message = (
            f"network `{network.name}`: subnet `{subnet}` is too small for {needed} containers"
        )
        raise NetworkError(message, hint="declare a larger `subnet` for this network")
    return subnet


def _is_kept(subnet: IPv4Network, previous: NetworkLease | None) -> bool:
    return previous is not None and previous.subnet == subnet


def _refuse_overlap(name: str, subnet: IPv4Network, host: HostNetworks) -> None:
    """Let a declared subnet cut into a wider route (a VPN's 10.0.0.0/8), never into an address."""
    for other in sorted(host.connected):
        if subnet.overlaps(other):
            message = (
                f"network `{name}`: subnet `{subnet}` overlaps `{other}`, which this machine is on"
            )
            raise NetworkError(message, hint="declare another `subnet`, or none")
    for other in sorted(host.routed):
        if other.subnet_of(subnet):
            message = f"network `{name}`: subnet `{subnet}` hides the route to `{other}`"
            raise NetworkError(message, hint="declare another `subnet`, or none")


def _refuse_mutual_overlap(subnets: Mapping[str, IPv4Network]) -> None:
    ordered = sorted(subnets.items(), key=lambda item: item[1])
    for (name, subnet), (other_name, other) in itertools.pairwise(ordered):
        if subnet.overlaps(other):
            message = f"networks `{name}` (`{subnet}`) and `{other_name}` (`{other}`) overlap"
            raise NetworkError(message, hint="declare subnets that do not overlap")


def _free_block(identity: str, name: str, needed: int, used: set[IPv4Network]) -> IPv4Network:
    prefix = min(_USUAL_PREFIX, 32 - (needed + _RESERVED - 1).bit_length())
    size = 1 << 32 - max(prefix, POOL.prefixlen)
    count = POOL.num_addresses // size
    for number in range(count):
        place = (int(identity, 16) + number) % count * size
        block = IPv4Network((POOL[place], max(prefix, POOL.prefixlen)))
        if block.num_addresses - _RESERVED >= needed and not any(map(block.overlaps, used)):
            return block
    message = f"network `{name}`: no free /{prefix} is left in `{POOL}`"
    raise NetworkError(message, hint="declare a `subnet` that this machine does not use")


def _indexes(
    subnets: Mapping[str, IPv4Network], previous: Leases, busy: frozenset[int]
) -> dict[str, int]:
    kept = {
        name: previous[name].index
        for name, subnet in subnets.items()
        if _is_kept(subnet, previous.get(name))
    }
    taken = busy.union(lease.index for lease in previous.values())
    fresh = (index for index in range(len(subnets) + len(taken)) if index not in taken)
    return {name: kept[name] if name in kept else next(fresh) for name in subnets}


def _fixed_addresses(
    name: str, lease: NetworkLease, claims: Claims
) -> dict[InstanceId, IPv4Address]:
    given: dict[InstanceId, IPv4Address] = {}
    owners: dict[IPv4Address, InstanceId] = {}
    for instance, address in claims:
        if address is None:
            continue
        where = f"container `{instance.container}`: address `{address}`"
        if not _is_usable(lease, address):
            hint = f"take one of {lease.gateway + 1} to {lease.subnet.broadcast_address - 1}"
            message = f"{where} is not free for containers in network `{name}` (`{lease.subnet}`)"
            raise NetworkError(message, hint=hint)
        if address in owners:
            message = f"{where} in network `{name}` is already that of `{owners[address]}`"
            raise NetworkError(
                message, hint="give each its own address; a replica cannot share one"
            )
        owners[address] = instance
        given[instance] = address
    return given


def _is_usable(lease: NetworkLease, address: IPv4Address) -> bool:
    return lease.gateway < address < lease.subnet.broadcast_address


def _unused(lease: NetworkLease, taken: set[IPv4Address]) -> Iterator[IPv4Address]:
    first, last = int(lease.gateway) + 1, int(lease.subnet.broadcast_address)
    return (address for address in map(IPv4Address, range(first, last)) if address not in taken)


def _reuse(departed: dict[InstanceId, IPv4Address]) -> IPv4Address | None:
    """Take the address of whoever left last."""
    return departed.popitem()[1] if departed else None
