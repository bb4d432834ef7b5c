"""Ports of bridges: made in few round trips, and found again by whom they lead to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network

import pytest

from anchor_supervisor.kernel import _wire
from anchor_supervisor.network import links
from anchor_supervisor.network.identity import veth_link, veth_name
from anchor_supervisor.network.netlink import Netlink
from anchor_supervisor.network.plan import Bridge, Endpoint
from anchor_supervisor.network.veths import Veths, Wanted
from network_machine import IDENTITY, Machine, namespace, run

pytestmark = pytest.mark.root

BRIDGE = Bridge("default", f"an{IDENTITY}-0", 0, IPv4Network("10.88.0.0/16"), internal=False)


def endpoint(number: int, *, reflects: bool = False) -> Endpoint:
    """The first interface of some container."""
    address = IPv4Interface((BRIDGE.subnet[number + 2], 16))
    return Endpoint("default", BRIDGE.name, "eth0", address, reflects=reflects)


class Switch:
    """A bridge, and a count of what goes over the wire to it."""

    def __init__(self, machine: Machine, netlink: Netlink) -> None:
        """Make the bridge."""
        self._machine = machine
        self.netlink = netlink
        self.trips = 0
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        (bridge,) = links.list_links(netlink, "an")
        self.masters = {BRIDGE.name: bridge.index}

    def make(self, veths: Veths, endpoints: Sequence[Endpoint]) -> list[str | None]:
        """Make a port for each of them, in a namespace of its own; say what went wrong."""
        wanted = [Wanted(self._machine.own(namespace()), one, 0) for one in endpoints]
        return self.join(veths, wanted)

    def join(self, veths: Veths, wanted: Sequence[Wanted]) -> list[str | None]:
        """Make these, and count the round trips."""
        self.trips = 0
        errors = veths.make(self.netlink, self.masters, wanted)
        return [None if error is None else str(error) for error in errors]


@pytest.fixture
def switch(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switch]:
    """A bridge on a machine of the test's own."""
    exchange = _wire.exchange
    with Netlink() as netlink:
        made = Switch(machine, netlink)

        def counted(socket: int, last: int, requests: bytes) -> bytes:
            made.trips += 1
            return exchange(socket, last, requests)

        monkeypatch.setattr(_wire, "exchange", counted)
        yield made


def test_a_wave_is_one_round_trip(switch: Switch) -> None:
    """Twenty ports, some of which reflect, are asked for in one system call."""
    veths = Veths(IDENTITY)
    assert not any(switch.make(veths, [endpoint(n, reflects=n % 2 == 0) for n in range(20)]))
    assert switch.trips == 1
    assert len(links.list_links(switch.netlink, "av")) == 20
    assert run("bridge", "-d", "link").count("hairpin on") == 10


def test_a_replaced_port_is_closed_in_the_same_round_trip(switch: Switch) -> None:
    """The old one answers for its successor's address no more."""
    veths = Veths(IDENTITY)
    switch.make(veths, [endpoint(0)])
    assert switch.make(veths, [endpoint(0), endpoint(1)]) == [None, None]
    assert switch.trips == 1
    old, *new = run("bridge", "link").splitlines()
    assert veth_name(IDENTITY, 0) in old
    assert "state disabled" in old
    assert len(new) == 2


def test_an_old_port_that_is_gone_is_none_the_worse(switch: Switch) -> None:
    """It went with its namespace: there is nothing to close."""
    veths = Veths(IDENTITY)
    switch.make(veths, [endpoint(0)])
    switch.netlink.perform([links.delete_link(veth_name(IDENTITY, 0))])
    assert switch.make(veths, [endpoint(0)]) == [None]


def test_ports_of_an_earlier_supervisor_are_known_by_their_address(switch: Switch) -> None:
    """Another object finds which port leads where, and goes on with the numbers."""
    switch.make(Veths(IDENTITY), [endpoint(0), endpoint(1)])
    veths = Veths(IDENTITY)
    veths.remember(links.own_links(switch.netlink, IDENTITY))
    assert switch.make(veths, [endpoint(1)]) == [None]
    assert switch.trips == 1
    assert "state disabled" in run("bridge", "link", "show", "dev", veth_name(IDENTITY, 1))
    assert veth_name(IDENTITY, 2) in run("bridge", "link")


def test_an_index_that_somebody_has_is_passed_over(switch: Switch) -> None:
    """Another fleet may have it by chance: the next one is taken, and the others are not harmed."""
    run("ip", "link", "add", "stranger", "index", str(veth_link(IDENTITY, 1)), "type", "bridge")
    assert switch.make(Veths(IDENTITY), [endpoint(n) for n in range(3)]) == [None, None, None]
    assert switch.trips == 2
    names = {link.name for link in links.list_links(switch.netlink, "av")}
    assert names == {veth_name(IDENTITY, number) for number in (0, 2, 3)}


def test_names_of_ports_without_a_bridge_are_passed_over(switch: Switch) -> None:
    """Somebody took the bridge away from under them, and another supervisor does not know them."""
    switch.make(Veths(IDENTITY), [endpoint(n) for n in range(3)])
    for number in range(3):
        run("ip", "link", "set", veth_name(IDENTITY, number), "nomaster")
    veths = Veths(IDENTITY)
    veths.remember(links.own_links(switch.netlink, IDENTITY))
    assert switch.make(veths, [endpoint(n) for n in range(3)]) == [None, None, None]
    assert len(links.list_links(switch.netlink, "av")) == 6


def test_one_that_is_refused_is_alone_in_it(switch: Switch, machine: Machine) -> None:
    """A namespace that is none fails by itself; its neighbours in the wave have their ports."""
    bad = machine.own(os.open("/dev/null", os.O_RDONLY))
    wanted = [Wanted(machine.own(namespace()), endpoint(number), 0) for number in range(3)]
    wanted[1] = Wanted(bad, endpoint(1, reflects=True), 0)
    first, second, third = switch.join(Veths(IDENTITY), wanted)
    assert (first, third) == (None, None)
    assert second is not None
    assert second.startswith(f"cannot join a port to `{BRIDGE.name}`: Invalid argument")
    assert len(links.list_links(switch.netlink, "av")) == 2


def test_only_who_asks_for_it_reflects_later(switch: Switch) -> None:
    """Of what runs, the ports that may be asked for themselves from now on, and no strangers."""
    veths = Veths(IDENTITY)
    switch.make(veths, [endpoint(0), endpoint(1)])
    wanted = [endpoint(0), endpoint(1, reflects=True), endpoint(2, reflects=True)]
    switch.netlink.perform(veths.reflections(wanted))
    assert "hairpin on" in run("bridge", "-d", "link", "show", "dev", veth_name(IDENTITY, 1))
    assert "hairpin on" not in run("bridge", "-d", "link", "show", "dev", veth_name(IDENTITY, 0))
