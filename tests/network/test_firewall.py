"""The fleet's table: replaced whole, changed, taken away, and never another fleet's."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.fleet.model import Port
from anchor_supervisor.network.firewall import Firewall, enable_forwarding
from network_machine import IDENTITY, Machine, container, fleet, planned, run

TARGET = ((IPv4Address("10.88.227.2"), 80),)


@pytest.mark.root
def test_a_table_comes_changes_and_goes(machine: Machine) -> None:
    """Applying twice is the same as once; removing twice too; existence is told truly."""
    plan = planned(fleet(container("web", Port("127.0.0.1", 8080, 80))))
    (port,) = plan.ports
    with Firewall(IDENTITY) as firewall:
        firewall.apply(plan, {port: TARGET})
        firewall.apply(plan, {port: TARGET})
        assert "10.88.227.2 . 80" in run("nft", "list", "ruleset")
        firewall.set_port_targets({port: ()})
        assert "10.88.227.2 . 80" not in run("nft", "list", "ruleset")
        assert firewall.remove()
        assert not firewall.remove()
    assert run("nft", "list", "ruleset") == ""


@pytest.mark.root
def test_fleets_do_not_touch_each_other(machine: Machine) -> None:
    """Removing one fleet's table leaves the other's, whose id begins alike."""
    plan = planned(fleet(container("web")))
    with Firewall(IDENTITY) as ours, Firewall("0c1d2e4") as theirs:
        ours.apply(plan, {})
        assert not theirs.remove()
        assert run("nft", "list", "tables") == f"table inet {ours.name}\n"
        assert ours.remove()


@pytest.mark.root
def test_a_change_that_fails_changes_nothing(machine: Machine) -> None:
    """Where somebody took the table away, the error says what could not be done."""
    plan = planned(fleet(container("web", Port("127.0.0.1", 8080, 80))))
    (port,) = plan.ports
    with Firewall(IDENTITY) as firewall:
        firewall.apply(plan, {})
        run("nft", "flush", "ruleset")
        with pytest.raises(NetworkError, match="cannot change the published ports in `anchor_0c"):
            firewall.set_port_targets({port: TARGET})
        firewall.apply(plan, {port: TARGET})
        assert firewall.remove()


def test_forwarding_is_written_only_where_it_is_off(tmp_path: Path) -> None:
    """0 becomes 1 and is reported; anything else is left alone; a refusal names the remedy."""
    setting = tmp_path / "ip_forward"
    setting.write_text("0\n")
    assert enable_forwarding(setting)
    assert setting.read_text() == "1"
    setting.write_text("2\n")
    assert not enable_forwarding(setting)
    assert setting.read_text() == "2\n"
    with pytest.raises(NetworkError, match="cannot enable IPv4 forwarding") as caught:
        enable_forwarding(tmp_path / "missing")
    assert caught.value.hint == "sysctl -w net.ipv4.ip_forward=1"
