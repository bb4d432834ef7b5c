"""The whole room on a machine of its own: taking over, reloading, failing and going down."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

import pytest

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Attachment, InstanceId, Network, Port
from anchor_supervisor.kernel import _wire
from anchor_supervisor.network.fleet_network import FleetNetwork
from network_machine import (
    IDENTITY,
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

WEB = InstanceId("web")
LOCAL = Port("127.0.0.1", 8080, 80)
ANYWHERE = Port("0.0.0.0", 8080, 80)
INSIDE = Network("inside", internal=True)


def test_a_replaced_namespace_takes_over_at_once(machine: Machine) -> None:
    """A new namespace of an instance gets its traffic, although the old one still lives."""
    machine.up(fleet(container("web", LOCAL), container("db")))
    old = machine.listen("web", 80)
    speak(machine.connect("db", machine.address("web"), 80), old)
    speak(machine.connect(None, "127.0.0.1", 8080), old)
    machine.inside[WEB] = machine.own(namespace())
    machine.network.attach(WEB, machine.inside[WEB])
    new = machine.listen("web", 80)
    speak(machine.connect("db", machine.address("web"), 80), new)
    speak(machine.connect(None, "127.0.0.1", 8080), new)


def test_a_second_supervisor_takes_over(machine: Machine) -> None:
    """A new supervisor keeps what runs connected, and joins and replaces containers beside it."""
    machine.up(fleet(container("web", LOCAL), container("db")))
    first = machine.network
    server = machine.listen("web", 80)
    client = machine.connect("db", machine.address("web"), 80)
    machine.network = FleetNetwork(IDENTITY)
    first._reservations.release()  # as the end of a process does
    machine.up(fleet(container("web", LOCAL), container("db"), container("new")))
    speak(client, server)
    speak(machine.connect("new", machine.address("web"), 80), server)
    speak(machine.connect(None, "127.0.0.1", 8080), server)
    machine.inside[WEB] = machine.own(namespace())
    machine.network.attach(WEB, machine.inside[WEB])
    replaced = machine.listen("web", 80)
    speak(machine.connect("db", machine.address("web"), 80), replaced)
    machine.network.down()


def test_a_reload_changes_only_what_changed(machine: Machine) -> None:
    """Networks come and go with the file, and a connection on one that stays is not cut."""
    front, back = Network("front"), Network("back")
    web = container("web", networks={"front": Attachment()})
    db = container("db", networks={"front": Attachment()})
    old = container("old", networks={"back": Attachment()})
    machine.up(fleet(old, web, db, networks=(back, front)))
    server = machine.listen("db", 5432)
    client = machine.connect("web", machine.address("db"), 5432)
    assert f"an{IDENTITY}-0" in run("ip", "-br", "link")
    machine.up(fleet(web, db, networks=(front,)))
    assert f"an{IDENTITY}-0" not in run("ip", "-br", "link")
    speak(client, server)


def test_one_bad_namespace_does_not_harm_the_others(machine: Machine) -> None:
    """Of several instances, those that cannot join are named and the rest is joined."""
    machine.plan = planned(fleet(container("web", replicas=3)))
    machine.network.up(machine.plan)
    one, two, three = machine.plan.endpoints
    not_a_namespace = machine.own(os.open("/dev/null", os.O_RDONLY))
    machine.inside = {one: machine.own(namespace()), three: machine.own(namespace())}
    fds = (machine.inside[one], not_a_namespace, machine.inside[three])
    errors = machine.network.attach_many(
        [(each, fd, machine.plan) for each, fd in zip((one, two, three), fds, strict=True)]
    )
    assert [error is None for error in errors] == [True, False, True]
    assert "cannot join a port to `an0c1d2e3-0`: Invalid argument" in str(errors[1])
    server = machine.listen(three, 80)
    speak(machine.connect(one, machine.address(three), 80), server)


def test_one_that_cannot_be_set_up_within_does_not_harm_the_others(machine: Machine) -> None:
    """A route that is there already is in one's way alone."""
    machine.plan = planned(fleet(container("web", replicas=3)))
    machine.network.up(machine.plan)
    machine.inside = {one: machine.own(namespace()) for one in machine.plan.endpoints}
    one, two, three = machine.inside
    run("ip", "route", "add", "unreachable", "default", inside=machine.inside[two])
    errors = machine.network.attach_many(
        [(each, fd, machine.plan) for each, fd in machine.inside.items()]
    )
    assert [error is None for error in errors] == [True, False, True]
    assert "cannot route through `10.88." in str(errors[1])
    server = machine.listen(three, 80)
    speak(machine.connect(one, machine.address(three), 80), server)


def test_a_wave_is_one_exchange_outside_and_one_inside_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many join, over a socket that is kept: none is opened, and nothing is looked up."""
    trips = {"outside": 0, "inside": 0, "visited": 0}
    exchange, exchange_inside = _wire.exchange, _wire.exchange_inside

    def counted(socket: int, last: int, requests: bytes) -> bytes:
        trips["outside"] += 1
        return exchange(socket, last, requests)

    def counted_inside(*several: tuple[int, int, bytes]) -> list[bytes | tuple[int, int]]:
        trips["inside"] += 1
        trips["visited"] += len(several)
        return exchange_inside(*several)

    machine.up(fleet(container("web", ANYWHERE, replicas=1)))
    machine.plan = planned(fleet(container("web", ANYWHERE, replicas=21)), after=machine.plan)
    machine.network.up(machine.plan)
    fresh = [one for one in machine.plan.endpoints if one not in machine.inside]
    wave = [(one, machine.own(namespace()), machine.plan) for one in fresh]
    monkeypatch.setattr(_wire, "exchange", counted)
    monkeypatch.setattr(_wire, "exchange_inside", counted_inside)
    before = len(os.listdir("/proc/self/fd"))
    assert not any(machine.network.attach_many(wave))
    assert trips == {"outside": 1, "inside": 1, "visited": 20}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_port_has_no_ipv6_of_its_own_accord(machine: Machine) -> None:
    """Neither end has an address to tell of, or to test for duplicates."""
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("0")
    machine.up(fleet(container("web"), container("db")))
    server = machine.listen("web", 80)
    speak(machine.connect("db", machine.address("web"), 80), server)  # both ends are up by now
    assert "fe80" not in run("ip", "-6", "address")
    assert "fe80" not in run("ip", "-6", "address", inside=machine.inside[WEB])


def test_nothing_is_open_once_it_is_down(machine: Machine) -> None:
    """The kept socket goes with the networks, and comes with them again."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        machine.network.up(planned(fleet(container("web"))))
        machine.network.down()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_namespace_that_is_not_empty_is_refused(machine: Machine) -> None:
    """Joining twice says which interface stands in the way."""
    machine.up(fleet(container("web")))
    with pytest.raises(AnchorError, match="cannot join a port to `an0c1d2e3-0`: File exists"):
        machine.network.attach(WEB, machine.inside[WEB])


def test_forwarding_is_enabled_only_for_who_needs_it(machine: Machine) -> None:
    """An internal network leaves ip_forward alone; another enables it once, and says so."""
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    forwarding.write_text("0")
    report = machine.network.up(
        planned(fleet(container("db", networks={"inside": Attachment()}), networks=(INSIDE,)))
    )
    assert not report.enabled_forwarding
    assert forwarding.read_text() == "0\n"
    plan = planned(fleet(container("web")))
    assert machine.network.up(plan).enabled_forwarding
    assert forwarding.read_text() == "1\n"
    assert not machine.network.up(plan).enabled_forwarding


def test_a_fleet_without_networks_touches_nothing(machine: Machine) -> None:
    """No bridge, no table, no forwarding where every container has no network."""
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    machine.up(fleet())
    assert run("nft", "list", "ruleset") == ""
    assert "an0" not in run("ip", "-br", "link")
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding


def test_a_hundred_containers_join_in_one_batch(machine: Machine) -> None:
    """All of them are served; the time is printed, not judged."""
    machine.plan = planned(fleet(container("web", replicas=100)))
    machine.network.up(machine.plan)
    several = [(one, machine.own(namespace())) for one in machine.plan.endpoints]
    begun = time.perf_counter()
    errors = machine.network.attach_many([(one, fd, machine.plan) for one, fd in several])
    print(f"100 containers joined in {(time.perf_counter() - begun) * 1e3:.0f} ms")
    assert not any(errors)
    machine.inside = dict(several)
    server = machine.listen("web.100", 80)
    speak(machine.connect("web.1", machine.address("web.100"), 80), server)


def test_down_leaves_nothing(machine: Machine) -> None:
    """Links, rules and held ports are gone, also the veths of namespaces that still live."""
    before = run("ip", "-br", "link")
    machine.up(fleet(container("web", LOCAL), container("db")))
    links = machine.network.down()
    assert len(links) == 3
    assert run("ip", "-br", "link") == before
    assert run("nft", "list", "ruleset") == ""
    machine.open(None, socket.SOCK_STREAM).bind(("127.0.0.1", 8080))
    assert machine.network.down() == ()


def test_a_port_in_use_changes_nothing(machine: Machine) -> None:
    """The fleet does not come up half: no bridge, no rule, and the other port is let go."""
    machine.listen(None, 8080)
    wanted = fleet(container("web", Port("127.0.0.1", 8081, 81), LOCAL))
    with pytest.raises(AnchorError, match=r"container `web`: port `127\.0\.0\.1:8080` is in use"):
        machine.network.up(planned(wanted))
    assert run("nft", "list", "ruleset") == ""
    assert "an0" not in run("ip", "-br", "link")
    machine.open(None, socket.SOCK_STREAM).bind(("127.0.0.1", 8081))


def test_unreachable_is_an_error_that_the_kernel_gives(machine: Machine) -> None:
    """A container without a default route is told at once that it has none."""
    machine.up(fleet(container("db", networks={"inside": Attachment()}), networks=(INSIDE,)))
    with pytest.raises(OSError, match="unreachable") as caught:
        machine.connect("db", THEIR_ADDRESS, 443)
    assert caught.value.errno == errno.ENETUNREACH
