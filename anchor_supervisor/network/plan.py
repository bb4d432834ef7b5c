"""What a fleet's networks are made of, as values: bridges, interfaces, published ports.

Pure: `plan_network` decides, prints (`describe`) and can be tested without a kernel; `links` and
`firewall` carry the plan out. Raises NetworkError for what cannot be, never asks the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.fleet.model import (
    Attachment,
    Container,
    Fleet,
    InstanceId,
    Kind,
    Network,
    NetworkMode,
    Port,
    UpdateOrder,
)
from anchor_supervisor.network.identity import bridge_name
from anchor_supervisor.network.leases import (
    HostNetworks,
    Leases,
    NetworkLease,
    lease_addresses,
    lease_networks,
)
from anchor_supervisor.values import field, frozen

DEFAULT_NETWORK: Final = "default"
ANYWHERE: Final = IPv4Address("0.0.0.0")  # noqa: S104 - what the user wrote, compared with
_PROTOCOLS = ("tcp", "udp")
_LAST_PORT = 65535


@final
@frozen
class Bridge:
    """One network of the fleet as a bridge. `index` is the number in its name.

    `sole`: it has one member for good, whose veth stands in its place, with its name and address.
    """

    network: str
    name: str
    index: int
    subnet: IPv4Network
    internal: bool
    sole: bool = False

    @property
    def gateway(self) -> IPv4Interface:
        """The bridge's own address, with the subnet's prefix length."""
        return IPv4Interface((self.subnet.network_address + 1, self.subnet.prefixlen))


@final
@frozen
class Endpoint:
    """One interface of one container: `interface` inside its namespace, joined to `bridge`.

    `gateway` is set on the one interface that carries the default route. `reflects`: what comes
    from it may go back to it, because the container is published where it can ask itself.
    """

    network: str
    bridge: str
    interface: str
    address: IPv4Interface
    gateway: IPv4Address | None = None
    reflects: bool = False


@final
@frozen(order=True)
class PublishedPort:
    """`address:port` on this machine leads to `container_port` of the container's replicas."""

    address: IPv4Address
    port: int
    protocol: str
    container: str
    container_port: int

    def __str__(self) -> str:
        """Return `127.0.0.1:8080/udp`, the protocol only where it is not tcp."""
        return f"{self.address}:{self.port}" + ("" if self.protocol == "tcp" else "/udp")


@final
@frozen
class NetworkPlan:
    """Everything the network room will make for one fleet.

    `endpoints` has an entry for each instance with a network namespace of its own, in file order;
    it is empty for `networks = "none"`. `aliases` are the names a container answers to on a
    network, beyond `NAME` and `NAME.REPLICA`. `surge` are the instances that an update may start
    beside those the file asks for. `leases` are to be handed in with the next plan.
    """

    identity: str
    bridges: Mapping[str, Bridge] = field(factory=lambda: MappingProxyType({}))
    endpoints: Mapping[InstanceId, tuple[Endpoint, ...]] = field(
        factory=lambda: MappingProxyType({})
    )
    aliases: Mapping[tuple[str, str], tuple[str, ...]] = field(
        factory=lambda: MappingProxyType({}), repr=False
    )
    ports: tuple[PublishedPort, ...] = ()
    surge: frozenset[InstanceId] = frozenset()
    leases: Leases = field(factory=lambda: MappingProxyType({}), repr=False)

    @property
    def needs_forwarding(self) -> bool:
        """Whether packets must pass between a bridge and the machine's other interfaces."""
        return any(not bridge.internal for bridge in self.bridges.values())

    def target(self, instance: InstanceId) -> IPv4Address | None:
        """Return the address that published ports lead to; None: the instance is on no network."""
        endpoints = self.endpoints.get(instance, ())
        outward = [one for one in endpoints if not self.bridges[one.network].internal]
        return next((one.address.ip for one in (*outward, *endpoints)), None)

    def describe(self) -> tuple[str, ...]:
        """Say it for `--plan`, a line for each object."""
        bridges = [
            f"make the {'veth' if bridge.sole else 'bridge'} `{bridge.name}` "
            f"for network `{bridge.network}`: {bridge.gateway}"
            + (", no way out" if bridge.internal else "")
            for bridge in self.bridges.values()
        ]
        endpoints = [
            f"give `{instance}` {one.address} as {one.interface} on network `{one.network}`"
            for instance, several in self.endpoints.items()
            for one in several
        ]
        ports = [
            f"publish {port} to port {port.container_port} of `{port.container}`"
            for port in self.ports
        ]
        return (*bridges, *endpoints, *ports)


def plan_network(
    fleet: Fleet,
    identity: str,
    host: HostNetworks,
    previous: Leases = MappingProxyType({}),
    *,
    beside: Sequence[NetworkPlan] = (),
    surge: bool = False,
    fixed: bool = False,
) -> NetworkPlan:
    """Plan `fleet`'s networks on a machine that already uses `host`.

    `identity` is `places.fleet_id`; `previous` are the leases of the plan that is in force;
    `beside` are plans by which containers still run, whose bridges stay for now. `surge`: also
    for the instances that an update may start beside the others. `fixed`: the fleet will never
    change. Raises NetworkError: no free subnet or address, a port published twice, an address
    unfit.
    """
    extra = frozenset(_surge(fleet.containers.values())) if surge else frozenset()
    attached = {
        container.name: _attachments(container)
        for container in fleet.containers.values()
        if container.network_mode is NetworkMode.BRIDGE
    }
    standing = {bridge.index: bridge for plan in beside for bridge in plan.bridges.values()}
    used = HostNetworks(
        host.connected.union(bridge.subnet for bridge in standing.values()), host.routed
    )
    _refuse_overlap(fleet, standing.values())
    claims = _claims(fleet, attached, extra)
    leases = _lease(fleet, identity, claims, used, previous, frozenset(standing))
    sole = fixed and [len(claimed) for claimed in claims.values()] == [1]
    bridges = {
        name: Bridge(
            name,
            bridge_name(identity, lease.index),
            lease.index,
            lease.subnet,
            _network(fleet, name).internal,
            sole=sole,
        )
        for name, lease in leases.items()
    }
    endpoints = {
        instance: _endpoints(instance, container, attached.get(container.name, {}), leases, bridges)
        for container in fleet.containers.values()
        if container.network_mode is not NetworkMode.HOST
        for instance in (*_replicas(container), *_surge([container] if surge else []))
    }
    return NetworkPlan(
        identity=identity,
        bridges=MappingProxyType(bridges),
        endpoints=MappingProxyType(endpoints),
        aliases=MappingProxyType(
            {
                (network, container): attachment.aliases
                for container, networks in attached.items()
                for network, attachment in networks.items()
                if attachment.aliases
            }
        ),
        ports=_published(fleet, attached, bridges),
        surge=extra,
        leases=MappingProxyType(leases),
    )


def standing_bridges(plans: Iterable[NetworkPlan]) -> tuple[Bridge, ...]:
    """Return the bridges of several plans; the first word on one counts."""
    found: dict[str, Bridge] = {}
    for plan in plans:
        for bridge in plan.bridges.values():
            found.setdefault(bridge.name, bridge)
    return tuple(found.values())


def _attachments(container: Container) -> Mapping[str, Attachment]:
    return container.networks or {DEFAULT_NETWORK: Attachment()}


def _network(fleet: Fleet, name: str) -> Network:
    return fleet.networks.get(name) or Network(name)


def _replicas(container: Container) -> list[InstanceId]:
    return [InstanceId(container.name, number) for number in range(1, container.replicas + 1)]


def _surge(containers: Iterable[Container]) -> list[InstanceId]:
    """Name what an update that starts first may add, beyond the replicas of these containers."""
    return [
        InstanceId(container.name, container.replicas + number)
        for container in containers
        if container.update.order is UpdateOrder.START_FIRST and container.kind is Kind.SERVICE
        for number in range(1, container.update.parallelism + 1)
    ]


Claims = Mapping[str, list[tuple[InstanceId, IPv4Address | None]]]


def _claims(
    fleet: Fleet, attached: Mapping[str, Mapping[str, Attachment]], surge: frozenset[InstanceId]
) -> Claims:
    """Say who wants an address on each network; what an update may add comes last."""
    claims: dict[str, list[tuple[InstanceId, IPv4Address | None]]] = {}
    for name in (*fleet.networks, DEFAULT_NETWORK):
        if any(name in networks for networks in attached.values()):
            claims[name] = []
    for name, networks in attached.items():
        for network, attachment in networks.items():
            fixed = _fixed(name, _network(fleet, network), attachment)
            for instance in _replicas(fleet.containers[name]):
                claims.setdefault(network, []).append((instance, fixed))
    for instance in sorted(surge):
        for network in attached.get(instance.container, ()):
            claims[network].append((instance, None))
    return claims


def _lease(
    fleet: Fleet,
    identity: str,
    claims: Claims,
    host: HostNetworks,
    previous: Leases,
    busy: frozenset[int],
) -> dict[str, NetworkLease]:
    wanted = {_network(fleet, name): len(several) for name, several in claims.items()}
    leased = lease_networks(identity, wanted, host, previous, busy)
    return {
        name: lease_addresses(name, leased[name], several, previous.get(name))
        for name, several in claims.items()
    }


def _refuse_overlap(fleet: Fleet, standing: Iterable[Bridge]) -> None:
    """Refuse a subnet that overlaps one whose containers are only being replaced."""
    for bridge in standing:
        for network in fleet.networks.values():
            try:
                subnet = None if network.subnet is None else IPv4Network(network.subnet)
            except ValueError:
                continue  # told by `lease_networks`
            kept = network.name == bridge.network and subnet == bridge.subnet
            if subnet is not None and not kept and subnet.overlaps(bridge.subnet):
                message = (
                    f"network `{network.name}`: subnet `{subnet}` overlaps `{bridge.subnet}`, "
                    f"which containers of this fleet are on (network `{bridge.network}`)"
                )
                hint = "declare one that does not overlap, or bring the fleet down first"
                raise NetworkError(message, hint=hint)


def _fixed(container: str, network: Network, attachment: Attachment) -> IPv4Address | None:
    if attachment.address is None:
        return None
    where = f"container `{container}`: address `{attachment.address}`"
    if network.subnet is None:
        message = f"{where}: network `{network.name}` declares no `subnet` to take it from"
        raise NetworkError(message, hint=f"declare `subnet` in [networks.{network.name}]")
    try:
        return IPv4Address(attachment.address)
    except ValueError:
        message = f"{where} is not an IPv4 address"
        raise NetworkError(message) from None


def _endpoints(
    instance: InstanceId,
    container: Container,
    attached: Mapping[str, Attachment],
    leases: Leases,
    bridges: Mapping[str, Bridge],
) -> tuple[Endpoint, ...]:
    way_out = next((name for name in attached if not bridges[name].internal), None)
    return tuple(
        Endpoint(
            network=name,
            bridge=bridges[name].name,
            interface=f"eth{number}",
            address=IPv4Interface(
                (leases[name].addresses[instance], leases[name].subnet.prefixlen)
            ),
            gateway=leases[name].gateway if name == way_out else None,
            reflects=name == way_out and not all(map(_is_local, container.ports)),
        )
        for number, name in enumerate(attached)
    )


def _published(
    fleet: Fleet,
    attached: Mapping[str, Mapping[str, Attachment]],
    bridges: Mapping[str, Bridge],
) -> tuple[PublishedPort, ...]:
    published: list[PublishedPort] = []
    for name, networks in attached.items():
        for declared in fleet.containers[name].ports:
            port = _port(name, declared)
            if not port.address.is_loopback and all(bridges[one].internal for one in networks):
                message = (
                    f"container `{name}`: port `{port}` is published beyond this machine, "
                    "but all its networks are internal"
                )
                raise NetworkError(
                    message, hint="publish it on 127.0.0.1, or add a network that is not internal"
                )
            published.append(port)
    by_key: dict[tuple[str, int], list[PublishedPort]] = {}
    for port in published:
        others = by_key.setdefault((port.protocol, port.port), [])
        for other in others:
            if port.address == other.address or ANYWHERE in (port.address, other.address):
                message = (
                    f"container `{port.container}`: port `{port}` is already published "
                    f"by `{other.container}` as `{other}`"
                )
                raise NetworkError(message, hint="publish one of the two on another port")
        others.append(port)
    return tuple(published)


def _is_local(port: Port) -> bool:
    return port.host_address.startswith("127.")


def _port(container: str, port: Port) -> PublishedPort:
    where = f"container `{container}`: port `{port.host_address}:{port.host_port}`"
    try:
        address = IPv4Address(port.host_address)
    except ValueError:
        message = f"{where}: `{port.host_address}` is not an IPv4 address"
        raise NetworkError(message, hint="write it as 127.0.0.1:8080:80") from None
    if port.protocol not in _PROTOCOLS:
        message = f"{where}: protocol `{port.protocol}` cannot be published"
        raise NetworkError(message, hint=f"publish {' or '.join(_PROTOCOLS)}")
    if not (0 < port.host_port <= _LAST_PORT and 0 < port.container_port <= _LAST_PORT):
        message = f"{where}: ports are between 1 and {_LAST_PORT}"
        raise NetworkError(message)
    return PublishedPort(address, port.host_port, port.protocol, container, port.container_port)
