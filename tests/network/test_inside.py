"""What is done inside a container's namespace once its interfaces are there."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface

import pytest

from anchor_supervisor.network.identity import inside_index
from anchor_supervisor.network.inside import configure
from anchor_supervisor.network.plan import Endpoint
from network_machine import Machine, namespace, run

pytestmark = pytest.mark.root

GATEWAY = IPv4Address("10.88.7.1")
FIRST = Endpoint("front", "an0c1d2e3-0", "eth0", IPv4Interface("10.88.7.2/24"), GATEWAY)
SECOND = Endpoint("back", "an0c1d2e3-1", "eth1", IPv4Interface("10.88.8.2/24"))


def prepared(machine: Machine, count: int) -> int:
    """A container's namespace with interfaces where `make_veth` would have put them."""
    fd = machine.own(namespace())
    for number in range(count):
        run("ip", "link", "add", f"eth{number}", "index", str(inside_index(number)),
            "type", "veth", "peer", "name", f"peer{number}", inside=fd)  # fmt: skip
    return fd


def test_each_interface_gets_its_address_and_the_first_the_route(machine: Machine) -> None:
    """Both are up with an address, no IPv6 comes by itself, and one of them leads out."""
    fd = prepared(machine, 2)
    assert configure([(fd, (FIRST, SECOND))]) == [None]
    addresses = run("ip", "-o", "address", inside=fd)
    assert "eth0    inet 10.88.7.2/24 brd 10.88.7.255 " in addresses
    assert "eth1    inet 10.88.8.2/24 brd 10.88.8.255 " in addresses
    assert "inet6 fe80" not in addresses
    assert run("ip", "-br", "link", inside=fd).count(",UP") == 3
    assert "default via 10.88.7.1 dev eth0" in run("ip", "route", inside=fd)


def test_a_failure_is_its_namespaces_alone(machine: Machine) -> None:
    """A bad descriptor and a missing interface are named, and those beside them are served."""
    good, bare = prepared(machine, 1), machine.own(namespace())
    bad = machine.own(os.open("/dev/null", os.O_RDONLY))
    home = os.readlink("/proc/thread-self/ns/net")
    refused, missing, served = configure([(bad, (FIRST,)), (bare, (FIRST,)), (good, (FIRST,))])
    assert str(refused) == "cannot enter a container's network namespace: Invalid argument"
    assert str(missing).startswith("cannot add the address `10.88.7.2/24`: No such device")
    assert served is None
    assert "10.88.7.2/24" in run("ip", "-o", "address", inside=good)
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_no_descriptor_stays_open(machine: Machine) -> None:
    """Sockets inside live for one exchange, whether it goes well or not."""
    good, bare = prepared(machine, 1), machine.own(namespace())
    before = len(os.listdir("/proc/self/fd"))
    configure([(good, (FIRST,)), (bare, (FIRST,)), (-1, (FIRST,))])
    assert len(os.listdir("/proc/self/fd")) == before
