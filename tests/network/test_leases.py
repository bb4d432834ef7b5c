"""Subnets and addresses: unique, stable, free, and an error with a remedy where there is none."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.fleet.model import InstanceId, Network
from anchor_supervisor.network.leases import (
    MAX_BRIDGE_PORTS,
    POOL,
    HostNetworks,
    NetworkLease,
    lease_addresses,
    lease_networks,
)

NOTHING = HostNetworks()
identities = st.text("0123456789abcdef", min_size=7, max_size=7)
networks_in_use = st.frozensets(
    st.sampled_from([*POOL.subnets(new_prefix=20), *POOL.subnets(new_prefix=24)]), max_size=20
)


def one_lease(
    identity: str,
    network: Network,
    needed: int = 1,
    host: HostNetworks = NOTHING,
    previous: dict[str, NetworkLease] | None = None,
) -> NetworkLease:
    """Lease a single network."""
    return lease_networks(identity, {network: needed}, host, previous or {})[network.name]


@given(identities, networks_in_use, networks_in_use, st.integers(1, MAX_BRIDGE_PORTS))
def test_a_chosen_subnet_is_free_and_large_enough(
    identity: str,
    connected: frozenset[IPv4Network],
    routed: frozenset[IPv4Network],
    needed: int,
) -> None:
    """It lies in the pool, avoids what the machine uses, holds everyone, and is not wasteful."""
    host = HostNetworks(connected, routed)
    try:
        subnet = one_lease(identity, Network("default"), needed, host).subnet
    except NetworkError:
        assume(False)
    assert subnet.subnet_of(POOL)
    assert not any(subnet.overlaps(other) for other in connected | routed)
    assert subnet.num_addresses - 3 >= needed
    assert subnet.prefixlen == 24 or subnet.num_addresses // 2 - 3 < needed


def test_an_exhausted_pool_is_an_error() -> None:
    """A machine that uses all of 10.88.0.0/16 is told what to do."""
    host = HostNetworks(routed=frozenset([IPv4Network("10.0.0.0/8")]))
    with pytest.raises(NetworkError, match=r"no free /24 is left in `10\.88\.0\.0/16`") as caught:
        one_lease("0c1d2e3", Network("default"), host=host)
    assert caught.value.hint == "declare a `subnet` that this machine does not use"


@given(identities, networks_in_use)
def test_the_same_fleet_gets_the_same_subnets(
    identity: str, connected: frozenset[IPv4Network]
) -> None:
    """Choosing again on the same machine gives the same answer."""
    wanted = {Network("front"): 3, Network("back"): 2}
    host = HostNetworks(connected)
    first = lease_networks(identity, wanted, host, {})
    assert lease_networks(identity, wanted, host, {}) == first
    assert not first["front"].subnet.overlaps(first["back"].subnet)
    assert first["front"].index != first["back"].index


def test_two_fleets_start_at_different_places() -> None:
    """The search begins at a place made of the id, so that fleets seldom compete."""
    subnets = {one_lease(f"{number:07x}", Network("default")).subnet for number in range(256)}
    assert len(subnets) == 256


@given(identities)
def test_a_kept_network_keeps_subnet_and_bridge(identity: str) -> None:
    """A network of the earlier plan keeps both, even where its subnet has become taken since."""
    old = lease_networks(identity, {Network("a"): 1, Network("b"): 1}, NOTHING, {})
    host = HostNetworks(frozenset(lease.subnet for lease in old.values()))
    new = lease_networks(identity, {Network("c"): 1, Network("b"): 1}, host, old)
    assert new["b"] == old["b"]
    assert new["c"].index not in {lease.index for lease in old.values()}
    assert not new["c"].subnet.overlaps(old["b"].subnet)


def test_a_declared_subnet_is_taken_as_it_is() -> None:
    """The file's word counts, even inside a wider route such as a VPN's."""
    host = HostNetworks(routed=frozenset([IPv4Network("10.0.0.0/8")]))
    network = Network("default", subnet="10.99.0.0/24")
    assert one_lease("0c1d2e3", network, host=host).subnet == IPv4Network("10.99.0.0/24")


@pytest.mark.parametrize(
    ("subnet", "words"),
    [
        ("10.99.0.1/24", "is not an IPv4 network"),
        ("fd00::/64", "is not an IPv4 network"),
        ("10.99.0.0/33", "is not an IPv4 network"),
        ("rubbish", "is not an IPv4 network"),
        ("127.0.0.0/24", "cannot hold containers"),
        ("224.0.0.0/24", "cannot hold containers"),
        ("169.254.0.0/24", "cannot hold containers"),
        ("0.0.0.0/0", "cannot hold containers"),
        ("10.99.0.0/31", "cannot hold containers"),
        ("10.99.0.0/30", "is too small for 2 containers"),
        ("192.168.1.0/24", "overlaps `192.168.0.0/16`, which this machine is on"),
        ("172.16.0.0/12", "hides the route to `172.20.0.0/16`"),
    ],
)
def test_an_unfit_subnet_is_refused(subnet: str, words: str) -> None:
    """What cannot be a network of containers here is refused with the reason and a remedy."""
    host = HostNetworks(
        frozenset([IPv4Network("192.168.0.0/16")]), frozenset([IPv4Network("172.20.0.0/16")])
    )
    with pytest.raises(NetworkError) as caught:
        one_lease("0c1d2e3", Network("default", subnet=subnet), 2, host)
    assert words in str(caught.value)
    assert "network `default`" in str(caught.value)
    assert caught.value.hint


def test_subnets_of_a_fleet_may_not_overlap() -> None:
    """Two declared networks that overlap are both named."""
    wanted = {Network("a", subnet="10.1.0.0/16"): 1, Network("b", subnet="10.1.2.0/24"): 1}
    with pytest.raises(NetworkError, match=r"networks `a` .* and `b` .* overlap"):
        lease_networks("0c1d2e3", wanted, NOTHING, {})


LEASE = NetworkLease(0, IPv4Network("10.88.7.0/28"))
ROOM = 13
instances = st.builds(InstanceId, st.sampled_from("abcdefgh"), st.integers(1, 4))
fixed_addresses = st.none() | st.integers(2, 14).map(lambda last: LEASE.subnet[last])
claims = st.lists(
    st.tuples(instances, fixed_addresses), max_size=ROOM, unique_by=(lambda claim: claim[0],)
).filter(lambda several: _distinct([address for _, address in several if address]))


def _distinct(several: list[IPv4Address]) -> bool:
    return len(set(several)) == len(several)


@given(claims)
def test_addresses_are_unique_usable_and_as_declared(
    wanted: list[tuple[InstanceId, IPv4Address | None]],
) -> None:
    """Each claimant has one of the subnet's own, never the gateway's, and fixed means fixed."""
    given_out = lease_addresses("default", LEASE, wanted, None).addresses
    assert set(given_out) == {instance for instance, _ in wanted}
    assert _distinct(list(given_out.values()))
    for instance, fixed in wanted:
        assert LEASE.gateway < given_out[instance] < LEASE.subnet.broadcast_address
        assert fixed is None or given_out[instance] == fixed


@given(st.lists(instances, max_size=ROOM, unique=True), st.integers(0, ROOM))
def test_addresses_are_stable_when_more_are_added_at_the_end(
    several: list[InstanceId], length: int
) -> None:
    """Even with nothing remembered, who comes earlier in the file does not move."""
    more = lease_addresses("default", LEASE, [(one, None) for one in several], None).addresses
    fewer = several[:length]
    less = lease_addresses("default", LEASE, [(one, None) for one in fewer], None).addresses
    assert all(more[one] == less[one] for one in fewer)


@given(st.lists(st.sets(instances, max_size=ROOM), min_size=2, max_size=6))
def test_an_address_stays_for_the_fleets_life(
    history: list[set[InstanceId]],
) -> None:
    """Whatever comes and goes, who is there before and after a change keeps its address."""
    lease: NetworkLease | None = None
    addresses: dict[InstanceId, IPv4Address] = {}
    for wanted in history:
        lease = lease_addresses("default", LEASE, [(one, None) for one in wanted], lease)
        assert _distinct(list(lease.addresses.values()))
        fresh = {one: lease.addresses[one] for one in wanted}
        assert {**addresses, **fresh} == {**fresh, **addresses}
        addresses = fresh


def test_who_comes_back_finds_its_address() -> None:
    """An address of one that is gone is given away only when no other is left."""
    web, db = InstanceId("web"), InstanceId("db")
    first = lease_addresses("default", LEASE, [(web, None), (db, None)], None)
    second = lease_addresses("default", LEASE, [(db, None)], first)
    third = lease_addresses("default", LEASE, [(InstanceId("new"), None), (web, None)], second)
    assert third.addresses[web] == first.addresses[web]
    crowd = [(InstanceId("crowd", number), None) for number in range(1, ROOM + 1)]
    full = lease_addresses("default", LEASE, crowd, third)
    assert set(full.addresses) == {instance for instance, _ in crowd}


def test_a_full_subnet_is_an_error() -> None:
    """The one that found no address is named, with the remedy."""
    crowd = [(InstanceId("crowd", number), None) for number in range(1, ROOM + 2)]
    with pytest.raises(NetworkError, match=r"no address is left .* for `crowd\.14`") as caught:
        lease_addresses("default", LEASE, crowd, None)
    assert caught.value.hint == "declare a larger `subnet` for this network"


def test_more_containers_than_bridge_ports_is_an_error() -> None:
    """A bridge has 1023 ports; the 1024th container is refused before anything is made."""
    wide = NetworkLease(0, IPv4Network("10.88.0.0/16"))
    crowd = [(InstanceId("crowd", number), None) for number in range(MAX_BRIDGE_PORTS + 1)]
    assert len(lease_addresses("default", wide, crowd[:-1], None).addresses) == MAX_BRIDGE_PORTS
    with pytest.raises(NetworkError, match=r"1024 containers do not fit on one bridge"):
        lease_addresses("default", wide, crowd, None)


@pytest.mark.parametrize("last", [0, 1, 15, 16])
def test_a_fixed_address_outside_is_refused(last: int) -> None:
    """Neither the network's own, nor the gateway's, nor broadcast, nor another network's."""
    address = IPv4Address(int(LEASE.subnet.network_address) + last)
    with pytest.raises(NetworkError, match=f"container `web`: address `{address}`") as caught:
        lease_addresses("default", LEASE, [(InstanceId("web"), address)], None)
    assert caught.value.hint == "take one of 10.88.7.2 to 10.88.7.14"


def test_a_fixed_address_is_given_once() -> None:
    """Two replicas, or two containers, cannot have the same one."""
    address = LEASE.subnet[5]
    wanted = [(InstanceId("web", 1), address), (InstanceId("web", 2), address)]
    with pytest.raises(NetworkError, match=r"is already that of `web\.1`"):
        lease_addresses("default", LEASE, wanted, None)


def test_a_fixed_address_displaces_who_had_it_by_chance() -> None:
    """A file that comes to claim an address gets it; the other moves."""
    web, db = InstanceId("web"), InstanceId("db")
    first = lease_addresses("default", LEASE, [(web, None)], None)
    wanted = [(web, None), (db, first.addresses[web])]
    second = lease_addresses("default", LEASE, wanted, first)
    assert second.addresses[db] == first.addresses[web]
    assert second.addresses[web] != first.addresses[web]
