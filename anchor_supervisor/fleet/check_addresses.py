"""Networks and addresses: every network exists, subnets lie apart, fixed addresses fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Attachment, Container, Fleet, UpdateOrder
from anchor_supervisor.fleet.wording import did_you_mean, show

SMALLEST_PREFIX: Final = 8
LARGEST_PREFIX: Final = 30  # network, gateway, one container, broadcast

# IANA's special-purpose blocks that never reach a neighbour or a gateway (RFC 6890).
_UNUSABLE: Final = tuple(
    IPv4Network(block)
    for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)


def address_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield every network and address that cannot be had."""
    subnets: dict[str, IPv4Network] = {}
    for name, network in fleet.networks.items():
        if network.subnet is not None:
            subnet = _subnet(network.subnet)
            if isinstance(subnet, IPv4Network):
                subnets[name] = subnet
            else:
                yield Finding(path_of("networks", name, "subnet"), *subnet)
    yield from _overlaps(subnets)
    yield from _capacity(fleet, subnets)
    taken: dict[tuple[str, str], str] = {}
    for container in fleet.containers.values():
        for name, attachment in container.networks.items():
            if name not in fleet.networks:
                yield _unknown_network(fleet, container, name)
            elif attachment.address is not None:
                yield from _address(container, name, attachment, subnets, taken)
        yield from _extra_hosts(container)


def _subnet(text: str) -> IPv4Network | tuple[str, str]:
    """Return the subnet, or what is wrong with it and a hint."""
    example = "such as `10.88.7.0/24`"
    try:
        subnet = IPv4Network(text)
    except ValueError:
        try:
            wide = IPv4Network(text, strict=False)
        except ValueError:
            return f"{show(text)} is not an IPv4 subnet", example
        return f"{show(text)} is an address inside a subnet", f"the subnet is `{wide}`"
    if not SMALLEST_PREFIX <= subnet.prefixlen <= LARGEST_PREFIX:
        size = "too large" if subnet.prefixlen < SMALLEST_PREFIX else "too small"
        return f"{show(text)} is {size} a subnet", f"/{SMALLEST_PREFIX} to /{LARGEST_PREFIX}"
    for block in _UNUSABLE:
        if subnet.overlaps(block):
            return f"{show(text)} lies in {block}, which is not for networks", example
    return subnet


def _overlaps(subnets: Mapping[str, IPv4Network]) -> Iterator[Finding]:
    """Sorted by first address, a subnet that overlaps any overlaps one before it."""
    in_order = sorted(subnets.items(), key=lambda pair: (pair[1].network_address, pair[0]))
    widest: tuple[str, IPv4Network] | None = None
    for name, subnet in in_order:
        if widest is not None and subnet.overlaps(widest[1]):
            message = f"`{subnet}` overlaps `{widest[1]}` of network `{widest[0]}`"
            yield Finding(path_of("networks", name, "subnet"), message)
        if widest is None or subnet.broadcast_address > widest[1].broadcast_address:
            widest = name, subnet


def _capacity(fleet: Fleet, subnets: Mapping[str, IPv4Network]) -> Iterator[Finding]:
    wanted: Counter[str] = Counter()
    for container in fleet.containers.values():
        # As many at a time as an update may have beside those that it replaces.
        surge = (
            container.update.parallelism if container.update.order is UpdateOrder.START_FIRST else 0
        )
        wanted.update(dict.fromkeys(container.networks, container.replicas + surge))
    for name, subnet in subnets.items():
        needed = wanted[name]
        free = subnet.num_addresses - 3  # network, gateway, broadcast
        if needed > free:
            message = f"`{subnet}` has room for {free} containers, not for {needed}"
            yield Finding(path_of("networks", name, "subnet"), message)


def _unknown_network(fleet: Fleet, container: Container, name: str) -> Finding:
    known = [one for one in fleet.networks if one != name]
    near = did_you_mean(name, known) or f"declare it: `[networks.{name}]`"
    return Finding(
        path_of("containers", container.name, "networks", name),
        f"there is no network {show(name)}",
        near,
    )


def _address(
    container: Container,
    network: str,
    attachment: Attachment,
    subnets: Mapping[str, IPv4Network],
    taken: dict[tuple[str, str], str],
) -> Iterator[Finding]:
    key = path_of("containers", container.name, "networks", network, "address")
    because = (
        path_of("networks", network, "subnet"),
        path_of("containers", container.name, "replicas"),
    )

    def finding(message: str, hint: str | None = None) -> Finding:
        return Finding(key, message, hint, because)

    text = attachment.address or ""
    try:
        address = IPv4Address(text)
    except ValueError:
        yield finding(f"{show(text)} is not an IPv4 address")
        return
    if container.replicas > 1:
        yield finding(f"{container.replicas} replicas cannot share the address `{address}`")
    other = taken.setdefault((network, str(address)), container.name)
    if other != container.name:
        yield finding(f"`{address}` is already the address of `{other}`")
    subnet = subnets.get(network)
    if subnet is None:
        hint = f"give `[networks.{network}]` a `subnet`"
        yield finding(f"`{address}` needs a network whose subnet is known", hint)
        return
    first, last = subnet.network_address + 2, subnet.broadcast_address - 1
    if address not in subnet:
        yield finding(f"`{address}` is not in `{subnet}`", f"`{first}` to `{last}`")
    elif not first <= address <= last:
        what = "gateway" if address == first - 1 else "own address"
        what = "broadcast address" if address > last else what
        yield finding(f"`{address}` is the {what} of `{subnet}`", f"`{first}` to `{last}`")


def _extra_hosts(container: Container) -> Iterator[Finding]:
    for name, text in container.extra_hosts.items():
        try:
            ip_address(text)
        except ValueError:
            later = text == "host-gateway"
            message = "is not supported yet" if later else "is not an IP address"
            key = path_of("containers", container.name, "extra_hosts", name)
            yield Finding(key, f"{show(text)} {message}")
