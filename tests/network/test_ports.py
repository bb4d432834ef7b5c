"""Held ports: in nobody else's way, and nobody in ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.plan import PublishedPort
from anchor_supervisor.network.ports import Reservations, reserve


def free_port(protocol: str = "tcp", address: str = "127.0.0.1") -> PublishedPort:
    """A port that nobody has."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        number = probe.getsockname()[1]
    return PublishedPort(IPv4Address(address), number, protocol, "web", 80)


@pytest.fixture
def held() -> Iterator[Reservations]:
    """What a fleet holds, let go in the end."""
    reservations = Reservations()
    yield reservations
    reservations.release()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")],
)
def test_two_fleets_cannot_hold_the_same_port(
    held: Reservations, protocol: str, ours: str, theirs: str
) -> None:
    """The second is told which container's port is taken, and how to find by whom."""
    port = free_port(protocol, ours)
    held.hold([port])
    other = PublishedPort(IPv4Address(theirs), port.port, protocol, "shop", 80)
    with pytest.raises(NetworkError) as caught:
        reserve(other)
    assert str(caught.value) == f"container `shop`: port `{other}` is in use"
    assert caught.value.hint is not None
    assert f"sport = {port.port}" in caught.value.hint


def test_a_server_and_a_fleet_exclude_each_other(held: Reservations) -> None:
    """A listening server stops a fleet, and a fleet stops a server that comes later."""
    port = free_port()
    place = ("127.0.0.1", port.port)
    with socket.create_server(place), pytest.raises(NetworkError, match="is in use"):
        held.hold([port])
    held.hold([port])
    with pytest.raises(OSError, match="Address already in use"):
        socket.create_server(place)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_held_port_takes_nothing_in(held: Reservations, protocol: str) -> None:
    """No connection is made and no datagram is kept, even where no rule stands before the port."""
    port = free_port(protocol)
    held.hold([port])
    place = ("127.0.0.1", port.port)
    if protocol == "tcp":
        with pytest.raises(TimeoutError):
            socket.create_connection(place, timeout=0.1)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"anybody there?", place)
    queues = [line.split()[4] for line in Path("/proc/net/udp").read_text().splitlines()
              if line.split()[1].endswith(f":{port.port:04X}")]  # fmt: skip
    assert queues == ["00000000:00000000"]


def test_a_held_port_is_seen(held: Reservations) -> None:
    """Who looks for the owner of the port finds a listening socket (state 0A)."""
    port = free_port()
    held.hold([port])
    states = [line.split()[3] for line in Path("/proc/net/tcp").read_text().splitlines()
              if line.split()[1].endswith(f":{port.port:04X}")]  # fmt: skip
    assert states == ["0A"]


def test_the_remains_of_a_server_are_no_obstacle(held: Reservations) -> None:
    """Connections in TIME_WAIT do not keep a port from a fleet, and it is held all the same."""
    port = free_port()
    place = ("127.0.0.1", port.port)
    server = socket.create_server(place)
    client = socket.create_connection(place)
    accepted, _ = server.accept()
    accepted.close()  # who closes first is left with TIME_WAIT
    assert client.recv(1) == b""
    client.close()
    server.close()
    with closing(socket.socket()) as strict, pytest.raises(OSError, match="already in use"):
        strict.bind(place)
    held.hold([port])
    with pytest.raises(NetworkError, match="is in use"):
        reserve(port)
    with pytest.raises(OSError, match="Address already in use"):
        socket.create_server(place)


def test_holding_is_all_or_nothing(held: Reservations) -> None:
    """One port in use leaves what was held before, and takes nothing new."""
    first, second, third = free_port(), free_port(), free_port()
    held.hold([first])
    with socket.create_server(("127.0.0.1", third.port)), pytest.raises(NetworkError):
        held.hold([second, third])
    with pytest.raises(NetworkError, match="is in use"):
        reserve(first)
    reserve(second).close()


def test_what_is_no_longer_wanted_is_let_go(held: Reservations) -> None:
    """A changed file frees the ports it no longer names, and keeps the others all along."""
    first, second = free_port(), free_port("udp")
    held.hold([first, second])
    held.hold([second])
    reserve(first).close()
    with pytest.raises(NetworkError, match="/udp` is in use"):
        reserve(second)
    held.release()
    reserve(second).close()


def test_a_strange_address_is_told_apart() -> None:
    """An address that this machine does not have is not a port in use."""
    port = PublishedPort(IPv4Address("192.0.2.77"), 80, "tcp", "web", 80)
    with pytest.raises(
        NetworkError, match=r"this machine has no address `192\.0\.2\.77`"
    ) as caught:
        reserve(port)
    assert caught.value.hint is not None
