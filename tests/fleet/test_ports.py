"""Entries of `ports`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import Port
from anchor_supervisor.fleet.ports import port, ports
from anchor_supervisor.fleet.wording import Mistake


def test_a_port_is_published_on_loopback_unless_an_address_is_given() -> None:
    """Nothing faces the world by default."""
    assert ports("8080:80") == (Port("127.0.0.1", 8080, 80),)
    assert ports("0.0.0.0:443:443") == (Port("0.0.0.0", 443, 443),)
    assert ports("53:53/udp") == (Port("127.0.0.1", 53, 53, "udp"),)


def test_a_range_is_a_port_for_each_number() -> None:
    """Both sides run in step."""
    assert ports("10.0.0.1:8000-8002:80-82/udp") == tuple(
        Port("10.0.0.1", 8000 + step, 80 + step, "udp") for step in range(3)
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("80", "`80` has no host port: one chosen freely is not supported yet"),
        (81, "`81` has no host port: one chosen freely is not supported yet"),
        ("0:80", "`0:80`: `0` is not between 1 and 65535"),
        ("65536:80", "`65536:80`: `65536` is not between 1 and 65535"),
        ("80:x", "`80:x`: `x` is not a port"),
        ("-1:80", "`-1:80`: `-1` is not a port"),
        ("8002-8000:1-3", "`8002-8000:1-3`: `8002-8000` runs backwards"),
        ("8000-8001:80", "`8000-8001:80` has 2 ports on this machine for 1 inside"),
        ("1-2000:1-2000", "`1-2000:1-2000` is more than 1024 ports"),
        ("80:80/sctp", "protocol `sctp` is neither `tcp` nor `udp`"),
        ("80:80/", "protocol `` is neither `tcp` nor `udp`"),
        ("localhost:80:80", "`localhost` is not an address of this machine"),
        ("127.1:80:80", "`127.1` is not an address of this machine"),
        ("[::1]:80:80", "`[::1]:80:80`: publishing on IPv6 is not supported yet"),
        ("1:2:3:4", "`1:2:3:4` is not `[ADDRESS:]HOST_PORT:CONTAINER_PORT[/PROTOCOL]`"),
        (True, "`true` is a boolean, not a string"),
    ],
)
def test_what_is_no_port_is_refused(entry: object, message: str) -> None:
    """Each with what is wrong about it."""
    with pytest.raises(Mistake) as caught:
        ports(entry)
    assert caught.value.message == message


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]))
def test_any_pair_of_ports_can_be_published(outer: int, inner: int, protocol: str) -> None:
    """What is written is what is meant."""
    assert ports(f"{outer}:{inner}/{protocol}") == (Port("127.0.0.1", outer, inner, protocol),)


def test_one_port_is_one_number() -> None:
    """A probe asks one port."""
    assert port(80) == port("80") == 80
    with pytest.raises(Mistake):
        port("80-81")
