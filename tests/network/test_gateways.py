"""A network's end on this machine; above all the veth of a member that is the only one for good."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import AnchorError, NetworkError
from anchor_supervisor.fleet.model import Attachment, InstanceId, Network, Port
from anchor_supervisor.network import gateways
from anchor_supervisor.network.fleet_network import FleetNetwork
from anchor_supervisor.network.identity import veth_link
from anchor_supervisor.network.sweep import remove_leftovers
from network_machine import (
    IDENTITY,
    NEVER,
    OUR_ADDRESS,
    SOON,
    THEIR_ADDRESS,
    Machine,
    container,
    fleet,
    namespace,
    planned,
    run,
    speak,
)

pytestmark = pytest.mark.root

GATEWAY = f"an{IDENTITY}-0"
WEB = InstanceId("web")
LOCAL = Port("127.0.0.1", 8080, 80)
ANYWHERE = Port("0.0.0.0", 8080, 80)


@pytest.fixture(params=[True, False], ids=["veth", "bridge"])
def fixed(request: pytest.FixtureRequest) -> bool:
    """Whether the fleet can never change: what holds for one holds for the other."""
    return bool(request.param)


def kind() -> str:
    """What the gateway is."""
    return run("ip", "-o", "-d", "link", "show", GATEWAY)


def test_one_link_is_the_whole_network(machine: Machine) -> None:
    """It is a veth with the bridge's name, group and address, and on no bridge."""
    before = len(run("ip", "-o", "link").splitlines())
    machine.up(fleet(container("web")), fixed=True)
    assert len(run("ip", "-o", "link").splitlines()) == before + 1
    assert " veth " in kind()
    assert "master" not in kind()
    gateway = machine.plan.bridges["default"].gateway
    assert str(gateway) in run("ip", "-o", "-4", "address", "show", GATEWAY)


def test_a_gateway_is_set_the_same_way_whatever_it_is(machine: Machine, fixed: bool) -> None:
    """The kernel's own defences, and the one that published ports must do without."""
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("0")
    machine.up(fleet(container("web")), fixed=fixed)
    found = {
        name: Path(f"/proc/sys/net/{name.format(GATEWAY)}").read_text().strip()
        for name in (
            "ipv6/conf/{}/disable_ipv6",
            "ipv4/conf/{}/route_localnet",
            "ipv4/conf/{}/rp_filter",
            "ipv4/conf/{}/accept_redirects",
            "ipv4/conf/{}/send_redirects",
        )
    }
    assert list(found.values()) == ["1", "1", "1", "0", "0"]
    assert "fe80" not in run("ip", "-6", "address")


def test_it_reaches_the_world_and_not_the_other_way_round(
    machine: Machine, outside: int, fixed: bool
) -> None:
    """Egress shows the machine's address; a neighbour that knows the container's gets nothing."""
    machine.up(fleet(container("web")), fixed=fixed)
    server = machine.listen(outside, 443)
    assert speak(machine.connect("web", THEIR_ADDRESS, 443), server) == OUR_ADDRESS
    machine.listen("web", 80)
    assert machine.is_silent(outside, machine.address("web"), 80)


def test_a_published_port_leads_inside_from_everywhere(
    machine: Machine, outside: int, fixed: bool
) -> None:
    """From the machine, from others, and from the container itself, at our address."""
    machine.up(fleet(container("web", ANYWHERE)), fixed=fixed)
    server = machine.listen("web", 80)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    speak(machine.connect(None, OUR_ADDRESS, 8080), server)
    speak(machine.connect("web", OUR_ADDRESS, 8080), server)
    assert speak(machine.connect(outside, OUR_ADDRESS, 8080), server) == THEIR_ADDRESS


def test_a_local_port_is_for_the_machine_alone(machine: Machine, outside: int, fixed: bool) -> None:
    """At 127.0.0.1, and nowhere else."""
    machine.up(fleet(container("web", LOCAL)), fixed=fixed)
    server = machine.listen("web", 80)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    gateway = str(machine.plan.leases["default"].gateway)
    for where, address in ((outside, OUR_ADDRESS), (None, OUR_ADDRESS), ("web", gateway)):
        with pytest.raises(ConnectionRefusedError):
            machine.connect(where, address, 8080)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_guard_protects_our_loopback(machine: Machine, fixed: bool, guarded: bool) -> None:
    """A container that routes 127.0.0.1 to us reaches no service of ours, and else it would."""
    machine.up(fleet(container("web", LOCAL)), fixed=fixed)
    secret = machine.open(None, socket.SOCK_DGRAM)
    secret.bind(("127.0.0.1", 9999))
    inside = machine.inside[WEB]
    gateway = str(machine.plan.leases["default"].gateway)
    run("ip", "route", "flush", "table", "local", "dev", "lo", inside=inside)
    run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1", inside=inside)
    run("ip", "route", "add", "127.0.0.0/8", "via", gateway, "dev", "eth0", inside=inside)
    attacker = machine.open("web", socket.SOCK_DGRAM)
    attacker.bind((machine.address("web"), 0))
    if not guarded:
        run("nft", "flush", "chain", "inet", f"anchor_{IDENTITY}", "guard")
    secret.settimeout(NEVER if guarded else SOON)
    attacker.sendto(b"let me in", ("127.0.0.1", 9999))
    if guarded:
        with pytest.raises(TimeoutError):
            secret.recv(16)
    else:
        assert secret.recv(16) == b"let me in"


def test_fleets_do_not_reach_each_other(machine: Machine, fixed: bool) -> None:
    """Another fleet's container gets no answer from this one's, and this one's none from it."""
    machine.up(fleet(container("web")), fixed=fixed)
    machine.listen("web", 80)
    other = Machine(machine._owned)
    other.network = FleetNetwork("1111111")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("network_machine.IDENTITY", "1111111")
        other.up(fleet(container("web")), fixed=True)
    try:
        other.listen("web", 80)
        assert machine.is_silent("web", other.address("web"), 80)
        assert other.is_silent("web", machine.address("web"), 80)
    finally:
        other.network.down()


def test_an_internal_network_has_no_way_out(machine: Machine, outside: int, fixed: bool) -> None:
    """Neither to the world, nor to our own services, even for who sets a route."""
    wanted = container("db", networks={"inside": Attachment()})
    networks = (Network("inside", internal=True),)
    machine.up(fleet(wanted, networks=networks), fixed=fixed)
    machine.listen(outside, 443)
    machine.listen(None, 22)
    gateway = str(machine.plan.leases["inside"].gateway)
    run("ip", "route", "add", "default", "via", gateway, inside=machine.inside[InstanceId("db")])
    assert machine.is_silent("db", THEIR_ADDRESS, 443)
    assert machine.is_silent("db", gateway, 22)


def test_another_namespace_takes_over(machine: Machine, fixed: bool) -> None:
    """Also while the old one lives, whose connection ends."""
    machine.up(fleet(container("web", LOCAL)), fixed=fixed)
    old = machine.listen("web", 80)
    speak(machine.connect(None, "127.0.0.1", 8080), old)
    machine.inside[WEB] = machine.own(namespace())
    machine.network.attach(WEB, machine.inside[WEB])
    new = machine.listen("web", 80)
    speak(machine.connect(None, "127.0.0.1", 8080), new)


def test_an_index_that_another_fleet_has_is_passed_over(machine: Machine) -> None:
    """Two fleets may share their numbers by chance."""
    index = str(veth_link(IDENTITY, 0))
    run("ip", "link", "add", "somebody", "index", index, "type", "bridge")
    machine.up(fleet(container("web")), fixed=True)
    assert run("ip", "-o", "link", "show", GATEWAY).startswith(str(veth_link(IDENTITY, 1)))
    assert "somebody" in run("ip", "-o", "link")


def test_a_namespace_that_is_none_is_an_error(machine: Machine) -> None:
    """And nothing of the link is left."""
    machine.network.up(planned(fleet(container("web")), fixed=True))
    not_a_namespace = machine.own(os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(NetworkError, match=f"cannot make the veth `{GATEWAY}`: Invalid argument"):
        machine.network.attach(WEB, not_a_namespace)
    assert GATEWAY not in run("ip", "-o", "link")


def test_a_namespace_with_an_interface_of_that_name_is_refused(machine: Machine) -> None:
    """However often it is tried."""
    machine.network.up(planned(fleet(container("web")), fixed=True))
    taken = machine.own(namespace())
    run("ip", "link", "add", "eth0", "type", "bridge", inside=taken)
    with pytest.raises(AnchorError, match=f"cannot make the veth `{GATEWAY}`: File exists"):
        machine.network.attach(WEB, taken)


def test_a_setting_that_is_refused_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file, and what it was to be."""
    monkeypatch.setattr(gateways, "_SETTINGS", (("/proc/sys/net/ipv4/conf/{name}/tag", b"x"),))
    machine.network.up(planned(fleet(container("web")), fixed=True))
    inside = machine.own(namespace())
    with pytest.raises(NetworkError, match=f"cannot set `/proc/.*{GATEWAY}/tag` to `x`: Invalid"):
        machine.network.attach(WEB, inside)


def test_down_takes_it_away_while_the_namespace_lives(machine: Machine) -> None:
    """A socket that somebody else was handed keeps the namespace, but no way to anybody."""
    before = run("ip", "-br", "link")
    machine.up(fleet(container("web", LOCAL)), fixed=True)
    held = machine.open("web", socket.SOCK_DGRAM)
    assert machine.network.down() == (GATEWAY,)
    assert run("ip", "-br", "link") == before
    assert run("nft", "list", "ruleset") == ""
    with pytest.raises(OSError, match="unreachable") as caught:
        held.sendto(b"x", (OUR_ADDRESS, 9))
    assert caught.value.errno == errno.ENETUNREACH


def test_a_killed_supervisors_link_is_swept_and_named(machine: Machine) -> None:
    """By who knows nothing but the fleet's name."""
    machine.up(fleet(container("web", LOCAL)), fixed=True)
    assert remove_leftovers(IDENTITY) == (GATEWAY, f"nft table anchor_{IDENTITY}")
    assert GATEWAY not in run("ip", "-o", "link")
    assert remove_leftovers(IDENTITY) == ()


@pytest.fixture(autouse=True)
def no_bridge_either(machine: Machine) -> Iterator[None]:
    """Whatever a test did, nothing of the fleet is left on the machine when it is down."""
    yield
    machine.network.down()
    assert IDENTITY not in run("ip", "-o", "link")
