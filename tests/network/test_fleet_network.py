"""The whole room on a machine of its own: who can reach whom, and who cannot."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from attrs import evolve

from anchor_supervisor.fleet.model import Attachment, InstanceId, Network, Port
from anchor_supervisor.kernel.namespaces import IdRange, create_sandbox
from network_machine import (
    IDENTITY,
    NEVER,
    OUR_ADDRESS,
    SOON,
    THEIR_ADDRESS,
    Machine,
    container,
    fleet,
    planned,
    run,
    speak,
)

pytestmark = pytest.mark.root

WEB = InstanceId("web")
LOCAL = Port("127.0.0.1", 8080, 80)
ANYWHERE = Port("0.0.0.0", 8080, 80)
INSIDE = Network("inside", internal=True)


def test_containers_reach_each_other(machine: Machine) -> None:
    """Two containers on one network connect by their addresses, unseen by the machine."""
    machine.up(fleet(container("web"), container("db")))
    server = machine.listen("db", 5432)
    client = machine.connect("web", machine.address("db"), 5432)
    assert speak(client, server) == machine.address("web")


def test_a_container_reaches_its_own_loopback(machine: Machine) -> None:
    """The loopback is up, with ::1, even for a container on no network."""
    machine.up(fleet(container("web")))
    server = machine.listen("web", 80)
    assert speak(machine.connect("web", "127.0.0.1", 80), server) == "127.0.0.1"
    addresses = run("ip", "-6", "-o", "address", inside=machine.inside[WEB])
    assert "::1/128" in addresses
    assert "eth0" not in addresses


def test_a_namespace_of_a_user_namespace_can_join(machine: Machine) -> None:
    """A network namespace that belongs to a container's own user namespace is served as well."""
    machine.plan = planned(fleet(container("web"), container("db")))
    machine.network.up(machine.plan)
    sandbox = create_sandbox(IdRange(1 << 20), network=True)
    assert sandbox.net is not None
    try:
        machine.network.attach(WEB, sandbox.net)
        machine.inside[WEB] = sandbox.net
        server = machine.listen(WEB, 80)
        speak(machine.connect(None, machine.address(WEB), 80), server)
    finally:
        sandbox.close()


def test_a_published_port_leads_to_its_container(machine: Machine) -> None:
    """127.0.0.1:8080 is refused before, served while, and refused after the container runs."""
    machine.up(fleet(container("web", LOCAL)), publish=False)
    server = machine.listen("web", 80)
    with pytest.raises(ConnectionRefusedError):
        machine.connect(None, "127.0.0.1", 8080)
    machine.network.publish(WEB)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    machine.network.unpublish(WEB)
    with pytest.raises(ConnectionRefusedError):
        machine.connect(None, "127.0.0.1", 8080)


def test_a_connection_outlives_changes_of_the_rules(machine: Machine) -> None:
    """Replacing the whole table or unpublishing the port cuts nobody off."""
    machine.up(fleet(container("web", LOCAL)))
    server = machine.listen("web", 80)
    client = machine.connect(None, "127.0.0.1", 8080)
    accepted, _ = server.accept()
    with accepted:
        machine.network.up(machine.plan)
        machine.network.unpublish(WEB)
        accepted.settimeout(SOON)
        client.sendall(b"still")
        assert accepted.recv(5) == b"still"


def test_a_local_port_is_not_reachable_at_other_addresses(machine: Machine, outside: int) -> None:
    """Published on 127.0.0.1 means there alone: not at our other addresses, from wherever."""
    machine.up(fleet(container("web", LOCAL), container("db")))
    machine.listen("web", 80)
    for where, address in (
        (outside, OUR_ADDRESS),
        (None, OUR_ADDRESS),
        ("db", str(machine.plan.leases["default"].gateway)),
        ("db", OUR_ADDRESS),
    ):
        with pytest.raises(ConnectionRefusedError):
            machine.connect(where, address, 8080)


def _aim_loopback_at(where: int, device: str, via: str) -> None:
    """Make a hostile machine send what is for 127.0.0.1 out of `device`, to us."""
    run("ip", "route", "flush", "table", "local", "dev", "lo", inside=where)
    run("sysctl", "-qw", f"net.ipv4.conf.{device}.route_localnet=1", inside=where)
    run("ip", "route", "add", "127.0.0.0/8", "via", via, "dev", device, inside=where)


def _expect(
    attacker: socket.socket,
    target: tuple[str, int],
    victim: socket.socket,
    *,
    guarded: bool,
) -> None:
    """Send a datagram that arrives only where the guard is taken away."""
    if not guarded:
        run("nft", "flush", "chain", "inet", f"anchor_{IDENTITY}", "guard")
    victim.settimeout(NEVER if guarded else SOON)
    attacker.sendto(b"let me in", target)
    if guarded:
        with pytest.raises(TimeoutError):
            victim.recv(16)
    else:
        assert victim.recv(16) == b"let me in"


@pytest.mark.parametrize("guarded", [True, False])
def test_the_guard_stops_packets_for_our_loopback(
    machine: Machine, outside: int, guarded: bool
) -> None:
    """A neighbour that routes 127.0.0.1 to us reaches nothing, and without the guard it would."""
    machine.up(fleet(container("dns", Port("127.0.0.1", 5353, 53, "udp"))))
    server = machine.open("dns", socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    _aim_loopback_at(outside, "cable", OUR_ADDRESS)
    attacker = machine.open(outside, socket.SOCK_DGRAM)
    attacker.bind((THEIR_ADDRESS, 0))
    _expect(attacker, ("127.0.0.1", 5353), server, guarded=guarded)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_guard_protects_our_own_loopback_services(machine: Machine, guarded: bool) -> None:
    """A container that routes 127.0.0.1 to us reaches no service of ours, and else it would."""
    machine.up(fleet(container("web", LOCAL)))
    secret = machine.open(None, socket.SOCK_DGRAM)
    secret.bind(("127.0.0.1", 9999))
    gateway = str(machine.plan.leases["default"].gateway)
    _aim_loopback_at(machine.inside[WEB], "eth0", gateway)
    attacker = machine.open("web", socket.SOCK_DGRAM)
    attacker.bind((machine.address("web"), 0))
    _expect(attacker, ("127.0.0.1", 9999), secret, guarded=guarded)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_guard_stops_who_claims_to_be_us(machine: Machine, guarded: bool) -> None:
    """A container that sends from 127.0.0.1 is not taken for a program of ours, and else it was."""
    machine.up(fleet(container("web", LOCAL)))
    trusting = machine.open(None, socket.SOCK_DGRAM)
    gateway = str(machine.plan.leases["default"].gateway)
    trusting.bind((gateway, 9999))
    run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1", inside=machine.inside[WEB])
    for lax in ("rp_filter=0", "accept_local=1"):  # the kernel's own two defences
        run("sysctl", "-qw", f"net.ipv4.conf.an{IDENTITY}-0.{lax}")
    attacker = machine.open("web", socket.SOCK_DGRAM)
    attacker.bind(("127.0.0.1", 0))
    _expect(attacker, (gateway, 9999), trusting, guarded=guarded)


def test_a_port_published_anywhere_is_reachable_from_everywhere(
    machine: Machine, outside: int
) -> None:
    """0.0.0.0 is every address of the machine, for itself, for others and for containers."""
    networks = (Network("front"), Network("back"))
    machine.up(
        fleet(
            container("web", ANYWHERE, networks={"front": Attachment()}),
            container("sister", networks={"front": Attachment()}),
            container("far", networks={"back": Attachment()}),
            networks=networks,
        )
    )
    server = machine.listen("web", 80)
    assert speak(machine.connect(outside, OUR_ADDRESS, 8080), server) == THEIR_ADDRESS
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    speak(machine.connect(None, OUR_ADDRESS, 8080), server)
    speak(machine.connect("sister", OUR_ADDRESS, 8080), server)
    speak(machine.connect("far", OUR_ADDRESS, 8080), server)
    speak(machine.connect("web", OUR_ADDRESS, 8080), server)


def test_replicas_share_a_published_port(machine: Machine) -> None:
    """Connections are dealt among the running replicas, and only to them."""
    machine.up(fleet(container("web", LOCAL, replicas=3)))
    servers = [machine.listen(f"web.{number}", 80) for number in (1, 2, 3)]
    machine.network.unpublish(InstanceId("web", 3))
    for _ in range(40):
        machine.connect(None, "127.0.0.1", 8080)
    served = []
    for server in servers:
        server.setblocking(False)
        count = 0
        try:
            while True:
                server.accept()[0].close()
                count += 1
        except BlockingIOError:
            served.append(count)
    assert served[0] > 0
    assert served[1] > 0
    assert served[2] == 0
    assert sum(served) == 40


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_udp_sender_that_was_early_is_served_later(machine: Machine, address: str) -> None:
    """A datagram before the container runs is refused, and the same socket gets through after."""
    machine.up(fleet(container("dns", Port(address, 5353, 53, "udp"))), publish=False)
    server = machine.open("dns", socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    client = machine.open(None, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", 5353))
    client.send(b"early")
    with pytest.raises(ConnectionRefusedError):
        client.recv(16)
    machine.network.publish(InstanceId("dns"))
    client.send(b"late")
    data, sender = server.recvfrom(16)
    assert data == b"late"
    server.sendto(b"answer", sender)
    assert client.recv(16) == b"answer"


def test_a_container_reaches_the_world(machine: Machine, outside: int) -> None:
    """Egress works, and shows the machine's address."""
    machine.up(fleet(container("web")))
    server = machine.listen(outside, 443)
    assert speak(machine.connect("web", THEIR_ADDRESS, 443), server) == OUR_ADDRESS


def test_the_world_does_not_reach_a_container(machine: Machine, outside: int) -> None:
    """A neighbour that routes a container's own address to us gets no answer."""
    machine.up(fleet(container("web")))
    machine.listen("web", 80)
    assert machine.is_silent(outside, machine.address("web"), 80)


def test_an_internal_network_has_no_way_out(machine: Machine, outside: int) -> None:
    """Neither the world, nor our own services, nor published ports: only its own containers."""
    machine.up(
        fleet(
            container("db", networks={"inside": Attachment()}),
            container("app", networks={"inside": Attachment()}),
            container("web", ANYWHERE),
            networks=(INSIDE, Network("default")),
        )
    )
    machine.listen(outside, 443)
    machine.listen("web", 80)
    machine.listen(None, 22)
    gateway = str(machine.plan.leases["inside"].gateway)
    with pytest.raises(OSError, match="unreachable"):
        machine.connect("db", THEIR_ADDRESS, 443)
    run("ip", "route", "add", "default", "via", gateway, inside=machine.inside[InstanceId("db")])
    assert machine.is_silent("db", THEIR_ADDRESS, 443)
    assert machine.is_silent("db", gateway, 22)
    assert machine.is_silent("db", gateway, 8080)
    assert machine.is_silent("db", machine.address("web"), 80)
    server = machine.listen("app", 5432)
    speak(machine.connect("db", machine.address("app"), 5432), server)


def test_an_internal_container_can_be_published_locally(machine: Machine) -> None:
    """No way out is not no way in: from this machine it is reached, at 127.0.0.1 and directly."""
    machine.up(fleet(container("db", LOCAL, networks={"inside": Attachment()}), networks=(INSIDE,)))
    server = machine.listen("db", 80)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    speak(machine.connect(None, machine.address("db"), 80), server)


def test_networks_of_a_fleet_are_isolated(machine: Machine) -> None:
    """A container reaches those it shares a network with, and no others."""
    machine.up(
        fleet(
            container("web", networks={"front": Attachment()}),
            container("app", networks={"front": Attachment(), "back": Attachment()}),
            container("db", networks={"back": Attachment()}),
            networks=(Network("front"), Network("back")),
        )
    )
    machine.listen("db", 5432)
    server = machine.listen("app", 80)
    assert machine.is_silent("web", machine.address("db"), 5432)
    speak(machine.connect("web", machine.address("app"), 80), server)
    speak(machine.connect("db", str(machine.plan.endpoints[InstanceId("app")][1].address.ip), 80),
          server)  # fmt: skip


def test_a_container_forwards_nothing(machine: Machine) -> None:
    """A container on two networks is no router, although the machine that made it is one."""
    machine.up(
        fleet(
            container("db", networks={"inside": Attachment()}),
            container("app", networks={"inside": Attachment(), "default": Attachment()}),
            networks=(INSIDE, Network("default")),
        )
    )
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    forwarding = run(
        "sysctl", "-n", "net.ipv4.ip_forward", inside=machine.inside[InstanceId("app")]
    )
    assert forwarding == "0\n"


def test_a_port_leads_to_what_each_replica_listens_to(machine: Machine) -> None:
    """While an update is under way: one still has its old port, as the plan has not any more."""
    machine.up(fleet(container("web", LOCAL)), publish=False)
    server = machine.listen("web", 80)
    machine.network.publish(WEB, ports=(LOCAL,))
    machine.up(fleet(container("web", evolve(LOCAL, container_port=81))), publish=False)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    newer = machine.listen("web", 81)
    machine.network.publish(WEB, ports=(evolve(LOCAL, container_port=81),))
    speak(machine.connect(None, "127.0.0.1", 8080), newer)
    machine.network.publish(WEB, ports=(evolve(LOCAL, host_port=8081),))
    with pytest.raises(ConnectionRefusedError):
        machine.connect(None, "127.0.0.1", 8080)
