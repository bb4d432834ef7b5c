"""Networks, subnets and fixed addresses."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.check_addresses import address_findings
from anchor_supervisor.fleet.model import Fleet, Network
from fleet_text import container, messages, problems

NET = '[networks.a]\nsubnet = "10.88.7.0/24"\n'


def _at(address: str) -> str:
    return f'networks = {{ a = {{ address = "{address}" }} }}'


def test_a_fixed_address_of_the_subnet_is_taken() -> None:
    """The second to the last but one."""
    for address in ("10.88.7.2", "10.88.7.254"):
        assert container(_at(address), NET).networks["a"].address == address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("10.88.8.2", "`10.88.8.2` is not in `10.88.7.0/24`"),
        ("10.88.7.0", "`10.88.7.0` is the own address of `10.88.7.0/24`"),
        ("10.88.7.1", "`10.88.7.1` is the gateway of `10.88.7.0/24`"),
        ("10.88.7.255", "`10.88.7.255` is the broadcast address of `10.88.7.0/24`"),
        ("10.88.7.02", "`10.88.7.02` is not an IPv4 address"),
        ("fd00::1", "`fd00::1` is not an IPv4 address"),
        ("10.88.7.2/24", "`10.88.7.2/24` is not an IPv4 address"),
    ],
)
def test_addresses_that_cannot_be_had(address: str, message: str) -> None:
    """Foreign, reserved, or no address at all."""
    assert messages(_at(address), NET) == [message]


def test_an_address_is_one_containers() -> None:
    """Neither another container nor a replica shares it, and its subnet is known."""
    other = f'[containers.b]\nimage = "x"\n{_at("10.88.7.9")}\n'
    assert messages(_at("10.88.7.9"), other + NET) == [
        "`10.88.7.9` is already the address of `web`"
    ]
    assert messages(f"replicas = 2\n{_at('10.88.7.9')}", NET) == [
        "2 replicas cannot share the address `10.88.7.9`"
    ]
    found = problems(_at("10.88.7.9"), "[networks.a]")
    assert [(one.message, one.hint) for one in found] == [
        ("`10.88.7.9` needs a network whose subnet is known", "give `[networks.a]` a `subnet`")
    ]


@pytest.mark.parametrize(
    ("subnet", "message"),
    [
        ("10.88.7.1/24", "`10.88.7.1/24` is an address inside a subnet"),
        ("8.0.0.0/7", "`8.0.0.0/7` is too large a subnet"),
        ("10.88.7.0/31", "`10.88.7.0/31` is too small a subnet"),
        ("10.88.7.0", "`10.88.7.0` is too small a subnet"),
        ("127.0.0.0/24", "`127.0.0.0/24` lies in 127.0.0.0/8, which is not for networks"),
        ("224.0.0.0/24", "`224.0.0.0/24` lies in 224.0.0.0/4, which is not for networks"),
        ("fd00::/64", "`fd00::/64` is not an IPv4 subnet"),
        ("lan", "`lan` is not an IPv4 subnet"),
    ],
)
def test_subnets_that_cannot_be(subnet: str, message: str) -> None:
    """Each with what is wrong about it."""
    assert messages("", f'[networks.a]\nsubnet = "{subnet}"') == [message]


def test_an_address_inside_a_subnet_gets_the_subnet_as_a_hint() -> None:
    """The commonest slip with subnets."""
    found = problems("", '[networks.a]\nsubnet = "10.88.7.1/24"')
    assert found[0].hint == "the subnet is `10.88.7.0/24`"


def test_a_wrong_subnet_is_not_told_again_at_each_address() -> None:
    """The one mistake is the network's."""
    assert messages(_at("10.88.7.9"), "[networks.a]\nsubnet = 5") == [
        "`5` is a number, not a string"
    ]


def test_unknown_networks() -> None:
    """With the nearest name, or how to declare it."""
    found = problems('networks = ["frnt", "zzz"]', "[networks.front]")
    assert [(one.message, one.hint) for one in found] == [
        ("there is no network `frnt`", "did you mean `front`?"),
        ("there is no network `zzz`", "declare it: `[networks.zzz]`"),
    ]


def test_a_subnet_has_room_for_every_replica() -> None:
    """A /29 has eight addresses, of which five are for containers."""
    small = '[networks.a]\nsubnet = "10.88.7.0/29"'
    assert container('networks = ["a"]\nreplicas = 5', small).replicas == 5
    assert messages('networks = ["a"]\nreplicas = 6', small) == [
        "`10.88.7.0/29` has room for 5 containers, not for 6"
    ]


subnets = st.builds(
    lambda value, prefix: IPv4Network((0x0A000000 | (value << 22), prefix), strict=False),
    st.integers(0, 3),
    st.sampled_from([9, 10, 11, 24]),
)


@given(st.lists(subnets, min_size=1, max_size=6))
def test_every_overlap_is_found_and_no_other(chosen: list[IPv4Network]) -> None:
    """Some network is named exactly where some two overlap."""
    blank = Network("x")
    networks = {
        f"n{number}": evolve(blank, name=f"n{number}", subnet=str(subnet))
        for number, subnet in enumerate(chosen)
    }
    found = list(address_findings(Fleet("f", {}, networks)))
    assert bool(found) == any(one.overlaps(other) for one, other in combinations(chosen, 2))


def test_extra_hosts_have_addresses() -> None:
    """In numbers; docker's word for this machine is known, but not supported yet."""
    assert messages('extra_hosts = { a = "example.org", b = "host-gateway" }') == [
        "`example.org` is not an IP address",
        "`host-gateway` is not supported yet",
    ]


def test_ipv6_is_not_supported_yet() -> None:
    """`false` is what it is anyway."""
    assert messages("", "[networks.default]\nipv6 = true") == ["`ipv6 = true` is not supported yet"]
    assert container("", "[networks.default]\nipv6 = false").name == "web"
