"""What we say in rtnetlink, held against pyroute2's encoder and against the kernel."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network import links
from anchor_supervisor.network.identity import bridge_prefix, inside_index, link_group, veth_link
from anchor_supervisor.network.leases import MAX_BRIDGE_PORTS
from anchor_supervisor.network.netlink import Message, Netlink
from anchor_supervisor.network.plan import Bridge, Endpoint
from network_machine import IDENTITY, Machine, namespace, run
from waiting import eventually

BRIDGE = Bridge("default", f"an{IDENTITY}-0", 0, IPv4Network("10.88.7.0/24"), internal=False)
ENDPOINT = Endpoint("default", BRIDGE.name, "eth0", IPv4Interface("10.88.7.2/24"))
NLMSG_HEADER = 16


def oracle(kind: type, attributes: list[tuple[str, object]], **fields: object) -> bytes:
    """Let pyroute2 encode the body of a message."""
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)[NLMSG_HEADER:]


def nested(**attributes: object) -> dict[str, object]:
    """Nested attributes as pyroute2 writes them."""
    return {"attrs": list(attributes.items())}


def test_a_bridge_is_encoded_as_pyroute2_does() -> None:
    """Byte for byte."""
    expected = oracle(
        ifinfmsg,
        [
            ("IFLA_IFNAME", BRIDGE.name),
            ("IFLA_ADDRESS", "02:ac:0a:58:07:01"),
            ("IFLA_GROUP", link_group(IDENTITY)),
            (
                "IFLA_LINKINFO",
                nested(
                    IFLA_INFO_KIND="bridge",
                    IFLA_INFO_DATA=nested(IFLA_BR_STP_STATE=0, IFLA_BR_MCAST_SNOOPING=0),
                ),
            ),
        ],
    )
    assert links.make_bridge(IDENTITY, BRIDGE).body == expected


def other_end(place: int) -> dict[str, object]:
    """The end in the namespace 5, as pyroute2 wants it."""
    peer = nested(
        IFLA_IFNAME="eth0",
        IFLA_ADDRESS="02:ac:0a:58:07:02",
        IFLA_NUM_TX_QUEUES=1,
        IFLA_NUM_RX_QUEUES=1,
        IFLA_NET_NS_FD=5,
    )
    peer["index"] = inside_index(place)
    return peer


def test_a_veth_is_encoded_as_pyroute2_does() -> None:
    """Byte for byte, with the other end in another namespace."""
    peer = other_end(1)
    expected = oracle(
        ifinfmsg,
        [
            ("IFLA_IFNAME", "av0c1d2e3-1f"),
            ("IFLA_ADDRESS", "06:ac:0a:58:07:02"),
            ("IFLA_NUM_TX_QUEUES", 1),
            ("IFLA_NUM_RX_QUEUES", 1),
            ("IFLA_MASTER", 4),
            ("IFLA_GROUP", link_group(IDENTITY)),
            (
                "IFLA_LINKINFO",
                nested(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=nested(VETH_INFO_PEER=peer)),
            ),
        ],
        index=veth_link(IDENTITY, 0x1F),
        flags=1,
        change=1,
    )
    assert links.make_veth(IDENTITY, 0x1F, 4, ENDPOINT, 5, 1).body == expected


def test_a_veth_in_the_place_of_a_bridge_is_encoded_as_pyroute2_does() -> None:
    """With the bridge's name and address, down, and on no bridge."""
    peer = other_end(0)
    expected = oracle(
        ifinfmsg,
        [
            ("IFLA_IFNAME", BRIDGE.name),
            ("IFLA_ADDRESS", "02:ac:0a:58:07:01"),
            ("IFLA_NUM_TX_QUEUES", 1),
            ("IFLA_NUM_RX_QUEUES", 1),
            ("IFLA_GROUP", link_group(IDENTITY)),
            (
                "IFLA_LINKINFO",
                nested(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=nested(VETH_INFO_PEER=peer)),
            ),
        ],
        index=veth_link(IDENTITY, 3),
    )
    assert links.make_sole_veth(IDENTITY, 3, BRIDGE, ENDPOINT, 5).body == expected


def test_an_address_is_encoded_as_pyroute2_does() -> None:
    """Byte for byte."""
    expected = oracle(
        ifaddrmsg,
        [
            ("IFA_LOCAL", "10.88.7.2"),
            ("IFA_ADDRESS", "10.88.7.2"),
            ("IFA_BROADCAST", "10.88.7.255"),
        ],
        family=2,
        prefixlen=24,
        index=3,
    )
    assert links.add_address(3, ENDPOINT.address).body == expected


def test_a_default_route_is_encoded_as_pyroute2_does() -> None:
    """Byte for byte."""
    expected = oracle(
        rtmsg,
        [("RTA_GATEWAY", "10.88.7.1"), ("RTA_OIF", 3)],
        family=2,
        table=254,
        proto=4,
        type=1,
    )
    assert links.add_default_route(3, IPv4Address("10.88.7.1")).body == expected


@pytest.mark.root
def test_what_the_machine_uses_is_found(machine: Machine) -> None:
    """Addresses and routes of all tables count; the default route and our own links do not."""
    own = f"{bridge_prefix(IDENTITY)}0"
    for name, address in (("lan", "192.168.4.7/22"), (own, "10.88.9.1/24")):
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "address", "add", address, "dev", name)
        run("ip", "link", "set", name, "up")
    run("ip", "route", "add", "default", "via", "192.168.4.1")
    run("ip", "route", "add", "10.9.0.0/16", "via", "192.168.4.1", "table", "700")
    run("ip", "route", "add", "blackhole", "10.10.0.0/16")
    run("ip", "route", "add", "10.11.0.0/16", "nexthop", "via", "192.168.4.1", "nexthop", "via",
        "192.168.4.2")  # fmt: skip
    with Netlink() as netlink:
        found = links.host_networks(netlink, IDENTITY)
    assert found.connected == {IPv4Network("127.0.0.0/8"), IPv4Network("192.168.4.0/22")}
    assert found.routed == {
        IPv4Network("192.168.4.0/22"),
        IPv4Network("10.9.0.0/16"),
        IPv4Network("10.10.0.0/16"),
        IPv4Network("10.11.0.0/16"),
    }


@pytest.mark.root
def test_links_are_listed_by_prefix(machine: Machine) -> None:
    """A list holds those asked for, with their MAC address, master and group."""
    fd = machine.own(namespace())
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        (bridge,) = links.list_links(netlink, "an")
        netlink.perform([links.make_veth(IDENTITY, 0, bridge.index, ENDPOINT, fd)])
        (veth,) = links.list_links(netlink, "av")
        both = links.list_links(netlink, "an", "av")
    assert sorted(both, key=lambda link: link.name) == [bridge, veth]  # in the order of the kernel
    assert (veth.name, veth.master, veth.group) == (
        "av0c1d2e3-0",
        bridge.index,
        link_group(IDENTITY),
    )
    assert veth.mac == bytes.fromhex("06ac0a580702")


@pytest.mark.root
def test_the_fleets_own_links_are_picked_by_the_kernel(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a hundred of other people's, what is read is the bridges and our own ports alone."""
    for number in range(50):
        run("ip", "link", "add", f"other{number}", "type", "veth", "peer", "name", f"peer{number}")
    run("ip", "link", "add", "an0c1d2e4-0", "type", "bridge")
    run("ip", "link", "add", "avother", "master", "an0c1d2e4-0", "type", "veth")
    read: list[bytes] = []
    dump = Netlink.dump

    def noted(netlink: Netlink, message: Message) -> list[bytes]:
        bodies = dump(netlink, message)
        read.extend(bodies)
        return bodies

    monkeypatch.setattr(Netlink, "dump", noted)
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        (bridge,) = links.list_links(netlink, BRIDGE.name)
        fds = [machine.own(namespace()) for _ in range(2)]
        netlink.perform(
            [
                links.make_veth(IDENTITY, number, bridge.index, ENDPOINT, fd)
                for number, fd in enumerate(fds)
            ]
        )
        read.clear()
        own = links.own_links(netlink, IDENTITY)
    assert {link.name for link in own} == {BRIDGE.name, "av0c1d2e3-0", "av0c1d2e3-1"}
    assert len(read) == 2 + 2


@pytest.mark.root
def test_making_a_bridge_again_sets_it_right(machine: Machine) -> None:
    """A bridge of an earlier supervisor is taken over, whatever was done to it."""
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        run("ip", "link", "set", BRIDGE.name, "type", "bridge", "stp_state", "1")
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
    assert "stp_state 0" in run("ip", "-d", "link", "show", BRIDGE.name)


@pytest.mark.root
@pytest.mark.native
def test_a_full_bridge_says_so(machine: Machine) -> None:
    """The port after the last is refused in words that name the bridge and the remedy."""
    fd = machine.own(namespace())
    endpoints = [
        Endpoint("default", BRIDGE.name, f"eth{number}", IPv4Interface((0x0A580002 + number, 16)))
        for number in range(MAX_BRIDGE_PORTS + 1)
    ]
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        (bridge,) = links.list_links(netlink, "an")
        answers = netlink.exchange(
            [
                links.make_veth(IDENTITY, number, bridge.index, endpoint, fd, number)
                for number, endpoint in enumerate(endpoints)
            ]
        )
    assert not any(answer.errno for answer in answers[:-1])
    error = links.explain(answers[-1], BRIDGE.name)
    assert isinstance(error, NetworkError)
    assert str(error) == f"bridge `{BRIDGE.name}` is full: one bridge has 1023 ports"
    assert error.hint == "spread the containers over several networks"


@pytest.mark.root
def test_a_muted_port_is_disabled_and_stays_so(machine: Machine) -> None:
    """Nothing passes any more, although the link is up; a reflecting port can be muted as well."""
    fd = machine.own(namespace())
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        (bridge,) = links.list_links(netlink, "an")
        netlink.perform(
            [
                links.make_veth(IDENTITY, 0, bridge.index, ENDPOINT, fd),
                links.bring_up(bridge.index, BRIDGE.name),
                links.reflect(veth_link(IDENTITY, 0)),
            ]
        )
        run("ip", "link", "set", "eth0", "up", inside=fd)
        eventually(
            lambda: run("bridge", "link"),
            lambda seen: "state forwarding" in seen,
            what="the port forwards",
        )
        assert "hairpin on" in run("bridge", "-d", "link")
        (veth,) = links.list_links(netlink, "av")
        netlink.perform([links.mute_port(veth.index)])
    assert "state disabled" in run("bridge", "link")
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("net:")


@pytest.mark.root
def test_an_interface_is_set_down_by_its_name(machine: Machine) -> None:
    """And one that is not there is named in the error."""
    with Netlink() as netlink:
        netlink.perform([links.make_bridge(IDENTITY, BRIDGE)])
        [found] = netlink.exchange([links.find_link(BRIDGE.name)])
        netlink.perform([links.bring_up(links.index_of(found), BRIDGE.name)])
        assert "UP" in run("ip", "-o", "link", "show", BRIDGE.name)
        netlink.perform([links.take_down(BRIDGE.name)])
        assert "UP" not in run("ip", "-o", "link", "show", BRIDGE.name)
        with pytest.raises(NetworkError, match="cannot set down the interface `an9-0`"):
            netlink.perform([links.take_down("an9-0")])
