"""Published ports: each address and port of this machine leads to one container."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, Fleet, NetworkMode, Port

ANYWHERE = "0.0.0.0"  # noqa: S104 - what the file may say, not what we listen on


def port_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield every port that is published twice, or that nothing could reach."""
    published: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for container in fleet.containers.values():
        if container.ports and container.network_mode is not NetworkMode.BRIDGE:
            yield _unpublishable(container)
            continue
        yield from _shut_in(fleet, container)
        for port in container.ports:
            others = published.setdefault((port.protocol, port.host_port), [])
            clash = next((other for other in others if _same(other[0], port.host_address)), None)
            if clash is not None:
                yield _clash(container, port, *clash)
            others.append((port.host_address, container.name))


def _same(one: str, other: str) -> bool:
    """Whether two listeners on the same port would meet: a wildcard meets every address."""
    return one == other or ANYWHERE in (one, other)


def _clash(container: Container, port: Port, address: str, owner: str) -> Finding:
    shown = f"{port.host_address}:{port.host_port}/{port.protocol}"
    whose = "twice here" if owner == container.name else f"by `{owner}`"
    wide = f", as `{address}:{port.host_port}`" if address != port.host_address else ""
    return Finding(
        path_of("containers", container.name, "ports"),
        f"`{shown}` is already published {whose}{wide}",
        "publish one of the two on another port",
    )


def _unpublishable(container: Container) -> Finding:
    why = {
        NetworkMode.HOST: "its ports are the machine's own already",
        NetworkMode.NONE: "nothing can reach it",
    }[container.network_mode]
    return Finding(
        path_of("containers", container.name, "ports"),
        f'a port cannot be published with `networks = "{container.network_mode}"`: {why}',
    )


def _shut_in(fleet: Fleet, container: Container) -> Iterator[Finding]:
    known = [fleet.networks[name] for name in container.networks if name in fleet.networks]
    if not known or not all(network.internal for network in known):
        return
    for port in container.ports:
        if not IPv4Address(port.host_address).is_loopback:
            yield Finding(
                path_of("containers", container.name, "ports"),
                f"`{port.host_address}:{port.host_port}` is published beyond this machine, "
                "but every network of the container is internal",
                "publish on `127.0.0.1`, or add a network that is not internal",
                because=tuple(path_of("networks", network.name, "internal") for network in known),
            )
