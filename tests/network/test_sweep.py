"""Sweeping: what a killed supervisor left is gone, and nothing else."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import Port
from anchor_supervisor.network.sweep import remove_leftovers
from network_machine import IDENTITY, Machine, container, fleet, run

pytestmark = pytest.mark.root


def test_leftovers_are_removed_and_named(machine: Machine) -> None:
    """Bridge, veths and table go, also while a namespace lives; a second time there is nothing."""
    before = run("ip", "-br", "link")
    machine.up(fleet(container("web", Port("127.0.0.1", 8080, 80), replicas=2)))
    removed = remove_leftovers(IDENTITY)
    assert sorted(removed) == [
        f"an{IDENTITY}-0",
        f"av{IDENTITY}-0",
        f"av{IDENTITY}-1",
        f"nft table anchor_{IDENTITY}",
    ]
    assert run("ip", "-br", "link") == before
    assert run("nft", "list", "ruleset") == ""
    assert remove_leftovers(IDENTITY) == ()


def test_only_the_fleets_own_are_removed(machine: Machine) -> None:
    """Another fleet's links, and links that merely sit in another group, are told apart."""
    machine.up(fleet(container("web")))
    run("ip", "link", "add", "an0c1d2e4-0", "type", "bridge")
    run("ip", "link", "add", f"an{IDENTITY}-7", "type", "bridge")  # ours by name, not by group
    run("nft", "add", "table", "inet", "anchor_0c1d2e4")
    removed = remove_leftovers(IDENTITY)
    assert f"an{IDENTITY}-7" in removed
    assert "an0c1d2e4-0" in run("ip", "-br", "link")
    assert f"an{IDENTITY}" not in run("ip", "-br", "link")
    assert run("nft", "list", "tables") == "table inet anchor_0c1d2e4\n"
