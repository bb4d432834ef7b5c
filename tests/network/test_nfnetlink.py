"""A table is taken away without libnftables: that one, whole, and only where there is one."""

from __future__ import annotations

import pytest

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.network.nfnetlink import delete_table, open_netfilter
from network_machine import Machine, run

pytestmark = pytest.mark.root


def test_a_table_goes_with_all_that_is_in_it(machine: Machine) -> None:
    """Chains, sets and elements go; tables of other names and families stay; twice is allowed."""
    for table in ("inet anchor_1", "inet anchor_12", "ip anchor_1"):
        run("nft", "add", "table", *table.split())
    run("nft", "add chain inet anchor_1 c { type filter hook input priority 0; }")
    run("nft", "add set inet anchor_1 s { type ipv4_addr; elements = { 10.0.0.1 }; }")
    run("nft", "add rule inet anchor_1 c ip saddr @s drop")
    with open_netfilter() as endpoint:
        assert delete_table(endpoint, "anchor_1")
        assert run("nft", "list", "tables") == "table inet anchor_12\ntable ip anchor_1\n"
        assert not delete_table(endpoint, "anchor_1")
        assert delete_table(endpoint, "anchor_12")
    run("nft", "delete", "table", "ip", "anchor_1")


def test_a_refusal_is_told(machine: Machine) -> None:
    """A name that no table can have is an error, not an absence; so is a closed socket."""
    with open_netfilter() as endpoint, pytest.raises(NetworkError, match=r"the table `n+`: "):
        delete_table(endpoint, "n" * 300)
    with pytest.raises(NetworkError, match="cannot delete the table `x`: Bad file descriptor"):
        delete_table(endpoint, "x")
