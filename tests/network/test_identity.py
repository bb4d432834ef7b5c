"""Names of kernel objects: short enough, apart from each other, and read back."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.network import identity

IFNAMSIZ = 16
identities = st.text("0123456789abcdef", min_size=7, max_size=7)


@given(identities, st.integers(0, 99999), st.integers(0, 2**40))
def test_link_names_fit(own: str, network: int, veth: int) -> None:
    """Every link name fits IFNAMSIZ with its NUL, however many there were before."""
    assert len(identity.bridge_name(own, network)) < IFNAMSIZ
    assert len(identity.veth_name(own, veth)) < IFNAMSIZ


@given(st.integers(0, 16**5 - 1))
def test_a_veth_index_is_read_back(index: int) -> None:
    """The index in a veth's name is the one it was made of, also where the id ends in a digit."""
    name = identity.veth_name("0000000", index)
    assert identity.veth_index(name) == index
    assert name.startswith(identity.veth_prefix("0000000"))


@given(identities)
def test_a_group_is_never_the_default_one(own: str) -> None:
    """IFLA_GROUP 0 holds every link of the machine, and a group is a signed number in places."""
    assert 0 < identity.link_group(own) < 2**31


@given(st.integers(0, 2**32 - 1))
def test_mac_addresses_are_unicast_and_local(number: int) -> None:
    """Both ends have an address of their own, neither anybody's real one, and one is read back."""
    address = IPv4Address(number)
    inside, outside = identity.inside_mac(address), identity.outside_mac(address)
    assert inside != outside
    assert {mac[0] & 0b11 for mac in (inside, outside)} == {0b10}
    assert {len(inside), len(outside)} == {6}
    assert identity.address_behind(outside) == address
    assert identity.address_behind(inside) is None
    assert identity.address_behind(b"") is None
