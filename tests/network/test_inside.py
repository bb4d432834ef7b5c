"""What is done inside a container's namespace, and what is not there afterwards."""

from __future__ import annotations

import os
from ipaddress import IPv4Interface

import pytest

from anchor_supervisor.errors import AnchorError, NetworkError
from anchor_supervisor.network.inside import configure, open_inside
from anchor_supervisor.network.netlink import Netlink
from anchor_supervisor.network.plan import Endpoint
from network_machine import Machine, namespace, run

pytestmark = pytest.mark.root


def test_each_socket_belongs_to_its_namespace(machine: Machine) -> None:
    """Every result stands where its namespace stood; a bad one is an error there, and alone."""
    first, second = machine.own(namespace()), machine.own(namespace())
    bad = machine.own(os.open("/dev/null", os.O_RDONLY))
    home = os.readlink("/proc/thread-self/ns/net")
    opened = open_inside([first, bad, second])
    assert [isinstance(one, Netlink) for one in opened] == [True, False, True]
    assert isinstance(opened[1], AnchorError)
    for one in opened:
        if isinstance(one, Netlink):
            configure(one, [])
            one.close()
    for fd in (first, second):
        assert "LOOPBACK,UP" in run("ip", "link", "show", "lo", inside=fd)
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_what_comes_into_being_later_has_no_ipv6(machine: Machine) -> None:
    """An interface made after the visit has no address of its own accord."""
    fd = machine.own(namespace())
    for one in open_inside([fd]):
        assert isinstance(one, Netlink)
        one.close()
    run("ip", "link", "add", "late", "type", "bridge", inside=fd)
    run("ip", "link", "set", "late", "up", inside=fd)
    assert run("ip", "-o", "address", "show", "late", inside=fd) == ""


def test_a_missing_interface_is_named(machine: Machine) -> None:
    """Configuring what is not there says which interface is missing."""
    fd = machine.own(namespace())
    (opened,) = open_inside([fd])
    assert isinstance(opened, Netlink)
    endpoint = Endpoint("default", "an0c1d2e3-0", "eth0", IPv4Interface("10.88.7.2/24"))
    with opened, pytest.raises(NetworkError, match="cannot find the interface `eth0`"):
        configure(opened, [endpoint])
