"""Plans: what a fleet's networks are made of, before anything is made."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.fleet.model import (
    Attachment,
    Container,
    Fleet,
    InstanceId,
    Network,
    NetworkMode,
    Port,
    instances,
)
from anchor_supervisor.network.leases import HostNetworks
from anchor_supervisor.network.plan import NetworkPlan, plan_network
from network_machine import IDENTITY, container, fleet

FRONT = Network("front", subnet="10.1.0.0/24")
INSIDE = Network("inside", subnet="10.2.0.0/24", internal=True)
NETWORKS = (FRONT, INSIDE)
WEB = InstanceId("web")


def plan(wanted: Fleet, previous: NetworkPlan | None = None) -> NetworkPlan:
    """Plan for a machine that uses nothing."""
    leases = previous.leases if previous else {}
    return plan_network(wanted, IDENTITY, HostNetworks(), leases)


def on(*names: str, **fixed: str) -> dict[str, Attachment]:
    """Networks to be on."""
    return {name: Attachment() for name in names} | {
        name: Attachment(address=address) for name, address in fixed.items()
    }


attachments = st.lists(st.sampled_from(["front", "inside"]), max_size=2, unique=True)
containers = st.builds(
    lambda name, names, replicas: container(name, networks=on(*names), replicas=replicas),
    st.sampled_from(["a", "b", "c", "d", "e"]),
    attachments,
    st.integers(1, 5),
)
fleets = st.lists(containers, max_size=5, unique_by=lambda one: one.name).map(
    lambda several: fleet(*several, networks=NETWORKS)
)


@given(fleets)
def test_every_instance_has_its_place(wanted: Fleet) -> None:
    """Each is on each of its networks once, by a distinct address in a distinct bridge's subnet."""
    planned = plan(wanted)
    assert tuple(planned.endpoints) == instances(wanted)
    addresses = [one.address.ip for several in planned.endpoints.values() for one in several]
    assert len(set(addresses)) == len(addresses)
    for instance, several in planned.endpoints.items():
        declared = wanted.containers[instance.container].networks
        assert [one.network for one in several] == (list(declared) or ["default"])
        assert [one.interface for one in several] == [f"eth{n}" for n in range(len(several))]
        for one in several:
            bridge = planned.bridges[one.network]
            assert one.bridge == bridge.name
            assert one.address.network == bridge.subnet == bridge.gateway.network
    assert len({bridge.name for bridge in planned.bridges.values()}) == len(planned.bridges)


@given(fleets)
def test_one_way_out_at_most(wanted: Fleet) -> None:
    """The default route goes through the first network that is not internal, if there is one."""
    planned = plan(wanted)
    for several in planned.endpoints.values():
        outward = [one for one in several if not planned.bridges[one.network].internal]
        assert [one for one in several if one.gateway is not None] == outward[:1]
        for one in outward[:1]:
            assert one.gateway == planned.bridges[one.network].gateway.ip


@given(fleets, fleets)
def test_a_change_moves_nobody(before: Fleet, after: Fleet) -> None:
    """Who is on a network before and after a change of the file keeps its address there."""
    old = plan(before)
    new = plan(after, old)
    for instance, several in new.endpoints.items():
        was = {one.network: one.address for one in old.endpoints.get(instance, ())}
        assert all(was.get(one.network, one.address) == one.address for one in several)
    for name, bridge in new.bridges.items():
        assert old.bridges.get(name, bridge) == bridge


@given(fleets)
def test_a_plan_is_described_line_by_line(wanted: Fleet) -> None:
    """Every bridge, interface and port has a line."""
    planned = plan(wanted)
    lines = planned.describe()
    assert len(lines) == len(planned.bridges) + sum(map(len, planned.endpoints.values()))
    for instance in planned.endpoints:
        assert any(f"`{instance}`" in line for line in lines)


def test_the_default_network_is_implied() -> None:
    """A container that names no network is on `default`, declared or not."""
    planned = plan(fleet(container("web")))
    assert list(planned.bridges) == ["default"]
    declared = fleet(container("web"), networks=(Network("default", subnet="10.3.0.0/24"),))
    assert plan(declared).endpoints[WEB][0].address == IPv4Interface("10.3.0.2/24")


def test_a_network_that_nobody_is_on_is_not_made() -> None:
    """A declared network without containers has no bridge."""
    assert list(plan(fleet(container("web"), networks=NETWORKS)).bridges) == ["default"]


def test_the_only_member_for_good_needs_no_bridge() -> None:
    """Who may be joined by others, or sits on two networks, is on bridges."""
    several = {"front": Attachment(), "inside": Attachment()}
    for wanted, sole in (
        (fleet(container("web")), True),
        (fleet(container("db", networks=on("inside")), networks=NETWORKS), True),
        (fleet(container("web", replicas=2)), False),
        (fleet(container("web"), container("db")), False),
        (fleet(container("web", networks=several), networks=NETWORKS), False),
    ):
        fixed = plan_network(wanted, IDENTITY, HostNetworks(), fixed=True)
        assert {bridge.sole for bridge in fixed.bridges.values()} == {sole}
        assert ("make the veth" in fixed.describe()[0]) is sole
        assert not any(bridge.sole for bridge in plan(wanted).bridges.values())
        assert fixed.endpoints == plan(wanted).endpoints


def test_without_a_network_there_is_a_namespace_but_no_interface() -> None:
    """`none` has a place in the plan, for its loopback; `host` has none at all."""
    none = evolve(container("none"), network_mode=NetworkMode.NONE)
    host = evolve(container("host"), network_mode=NetworkMode.HOST)
    planned = plan(fleet(none, host))
    assert planned.endpoints == {InstanceId("none"): ()}
    assert not planned.bridges
    assert not planned.needs_forwarding
    assert planned.target(InstanceId("none")) is None


def test_published_ports_lead_to_the_network_with_a_way_out() -> None:
    """Of several addresses, the one on the first network that is not internal is published."""
    port = Port("0.0.0.0", 8080, 80)
    planned = plan(fleet(container("web", port, networks=on("inside", "front")), networks=NETWORKS))
    assert planned.target(WEB) == IPv4Address("10.1.0.2")
    assert [str(one) for one in planned.ports] == ["0.0.0.0:8080"]
    assert [one.reflects for one in planned.endpoints[WEB]] == [False, True]
    assert "publish 0.0.0.0:8080 to port 80 of `web`" in planned.describe()
    assert planned.needs_forwarding


def test_an_internal_fleet_needs_no_forwarding() -> None:
    """Internal networks alone pass nothing between interfaces."""
    local = container("web", Port("127.0.0.1", 8080, 80), networks=on("inside"))
    planned = plan(fleet(local, networks=NETWORKS))
    assert not planned.needs_forwarding
    assert planned.target(WEB) == IPv4Address("10.2.0.2")


def _refused(*several: Container) -> NetworkError:
    with pytest.raises(NetworkError) as caught:
        plan(fleet(*several, networks=(*NETWORKS, Network("auto"))))
    return caught.value


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (Port("::1", 80, 80), "`::1` is not an IPv4 address"),
        (Port("localhost", 80, 80), "`localhost` is not an IPv4 address"),
        (Port("127.0.0.1; flush ruleset", 80, 80), "is not an IPv4 address"),
        (Port("127.0.0.1", 0, 80), "ports are between 1 and 65535"),
        (Port("127.0.0.1", 80, 65536), "ports are between 1 and 65535"),
        (Port("127.0.0.1", 80, 80, "sctp"), "protocol `sctp` cannot be published"),
    ],
)
def test_an_unfit_port_is_refused(port: Port, words: str) -> None:
    """What cannot be published is refused by container and port, before any rule is written."""
    error = _refused(container("web", port))
    assert str(error).startswith("container `web`: port `")
    assert words in str(error)


@pytest.mark.parametrize("other", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_published_once(other: str) -> None:
    """Two containers cannot have the same port, nor one the port everywhere and one somewhere."""
    error = _refused(
        container("a", Port("127.0.0.1", 8080, 80)), container("b", Port(other, 8080, 81))
    )
    assert "container `b`" in str(error)
    assert "is already published by `a` as `127.0.0.1:8080`" in str(error)


def test_the_same_number_can_be_published_side_by_side() -> None:
    """TCP and UDP, or two addresses, do not stand in each other's way."""
    ports = (
        Port("127.0.0.1", 53, 53),
        Port("127.0.0.1", 53, 53, "udp"),
        Port("127.0.0.2", 53, 53),
    )
    planned = plan(fleet(container("dns", *ports)))
    assert [str(port) for port in planned.ports] == [
        "127.0.0.1:53",
        "127.0.0.1:53/udp",
        "127.0.0.2:53",
    ]


def test_an_internal_container_is_not_published_to_the_world() -> None:
    """No way out includes the answers to strangers."""
    error = _refused(container("db", Port("0.0.0.0", 5432, 5432), networks=on("inside")))
    assert "port `0.0.0.0:5432` is published beyond this machine" in str(error)


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        (on(auto="10.88.0.9"), "network `auto` declares no `subnet` to take it from"),
        (on(front="10.1.0.x"), "is not an IPv4 address"),
        (on(front="10.2.0.9"), "is not free for containers in network `front`"),
    ],
)
def test_an_unfit_address_is_refused(networks: dict[str, Attachment], words: str) -> None:
    """A fixed address has to be one of the network that it is declared for."""
    error = _refused(container("web", networks=networks))
    assert "container `web`: address `" in str(error)
    assert words in str(error)
