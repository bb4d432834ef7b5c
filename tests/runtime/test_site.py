"""What the containers share: made in order, given back in order, and never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError, HostError, NetworkError
from anchor_supervisor.fleet.model import InstanceId, Port
from anchor_supervisor.network.firewall import Firewall
from anchor_supervisor.network.fleet_network import FleetNetwork
from anchor_supervisor.network.ruleset import Target, Targets
from anchor_supervisor.observability import places
from anchor_supervisor.runtime import site as site_module
from anchor_supervisor.runtime.limits import fleet_cgroup
from anchor_supervisor.runtime.site import open_site
from leaks import Snapshot
from real_fleet import WEB, Workshop, open_descriptors

pytestmark = pytest.mark.root

NETWORKED = 'networks = ["default"]'


def test_a_site_is_made_and_given_back(workshop: Workshop) -> None:
    """Cgroup, bridge, rules and init while it is open; nothing of it afterwards."""
    fleet = workshop.fleet(NETWORKED, "replicas = 2")
    before, descriptors = Snapshot.take(workshop.run_dir), open_descriptors()
    with workshop.site(fleet) as site:
        assert site.cgroup.exists()
        kinds = {thing.split()[0] for thing in Snapshot.take().since(before)}
        assert {"cgroup", "link", "nft"} <= kinds
        addresses = {site.address(InstanceId("web", number)) for number in (1, 2)}
        assert len(addresses) == 2
        assert None not in addresses
        assert site.hidden == (str(workshop.run_dir), str(workshop.data_dir))
        assert site.warnings == ()
    assert open_descriptors() == descriptors
    assert not fleet_cgroup(places.fleet_id(fleet.name)).exists()


def test_a_fleet_without_a_network_makes_none(workshop: Workshop) -> None:
    """No bridge and no rule for containers that asked for none."""
    before = Snapshot.take()
    with workshop.site(workshop.fleet()) as site:
        new = Snapshot.take().since(before)
        assert not {thing for thing in new if thing.startswith(("link anchor", "nft"))}
        assert site.address(WEB) is None


def refuse(*_: object, **__: object) -> None:
    """Fail as a machine does."""
    message = "the machine says no"
    raise NetworkError(message)


FAILURES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the cgroup": lambda m: m.setattr(site_module, "make_fleet_cgroup", refuse),
    "the plan": lambda m: m.setattr(site_module, "plan_network", refuse),
    "the network": lambda m: m.setattr(FleetNetwork, "up", refuse),
    "the init": lambda m: m.setattr(site_module, "open_init", refuse),
    "the last look": lambda m: m.setattr(site_module, "enforced_limits", refuse),
}


@pytest.mark.parametrize("what", FAILURES)
def test_whatever_cannot_be_made_nothing_is_left(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What was made before it is given back."""
    fleet = workshop.fleet(NETWORKED)
    places.fleet_run_dir(fleet.name).mkdir()
    descriptors = open_descriptors()
    with monkeypatch.context() as patched:
        FAILURES[what](patched)
        with pytest.raises(HostError, match="the machine says no"), open_site(fleet):
            pytest.fail("it was opened")
    assert open_descriptors() == descriptors
    assert not fleet_cgroup(places.fleet_id(fleet.name)).exists()
    places.fleet_run_dir(fleet.name).rmdir()
    with workshop.site(fleet):
        pass


def test_a_wrong_fleet_makes_nothing(workshop: Workshop) -> None:
    """What is missing is found before the first cgroup."""
    fleet = workshop.fleet('command = ["/nowhere"]')
    before = Snapshot.take()
    with pytest.raises(FleetError, match="`/nowhere` was not found"), workshop.site(fleet):
        pytest.fail("it was opened")
    assert not {thing for thing in Snapshot.take().since(before) if "anchor" in thing}


def test_names_are_resolved_as_the_machine_does(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine's resolv.conf is handed on; a machine without one is no error."""
    monkeypatch.setattr(site_module, "RESOLV_CONF", tmp_path / "resolv.conf")
    with workshop.site(workshop.fleet()) as site:
        assert site.resolv_conf == ""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    with workshop.site(workshop.fleet()) as site:
        assert site.resolv_conf == "nameserver 192.0.2.53\n"
        assert os.path.samestat(os.fstat(site.init), os.fstat(site.init))


def test_a_wave_of_starts_is_led_to_in_one_transaction(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several at once, one that is refused is tried alone with the others, and fails alone."""
    transactions: list[set[Target]] = []
    real = Firewall.set_port_targets

    def counted(firewall: Firewall, targets: Targets) -> None:
        transactions.append({target for several in targets.values() for target in several})
        if any(port == 81 for _, port in transactions[-1]):
            message = "no room in the map"
            raise NetworkError(message)
        real(firewall, targets)

    monkeypatch.setattr(Firewall, "set_port_targets", counted)
    fleet = workshop.fleet(NETWORKED, "replicas = 3", 'ports = ["127.0.0.1:28531:80"]')
    one, two, three = (InstanceId("web", number) for number in (1, 2, 3))
    good, bad = ((Port("127.0.0.1", 28531, inside),) for inside in (80, 81))
    with workshop.site(fleet) as site:
        assert site.lead([(one, good), (two, good), (three, good)]) == [None, None, None]
        assert [len(targets) for targets in transactions] == [3]
        assert site.lead([(one, None), (two, None)]) == [None, None]
        assert [len(targets) for targets in transactions] == [3, 1]
        first, second, third = site.lead([(one, good), (two, bad), (three, None)])
        assert (first, str(second), third) == (None, "no room in the map", None)
        assert transactions[-1] == {(ip_address(site.address(one) or ""), 80)}
