"""The table as text: accepted by libnftables for any plan, and changed element by element."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import Attachment, Network, Port
from anchor_supervisor.network.leases import HostNetworks
from anchor_supervisor.network.nftables import Nftables
from anchor_supervisor.network.plan import NetworkPlan, PublishedPort, plan_network
from anchor_supervisor.network.ruleset import (
    SLOTS,
    Targets,
    change_text,
    elements,
    table_text,
)
from network_machine import IDENTITY, Machine, container, fleet

ports = st.builds(
    PublishedPort,
    address=st.sampled_from(["0.0.0.0", "127.0.0.1", "192.0.2.2"]).map(IPv4Address),
    port=st.integers(1, 4),
    protocol=st.sampled_from(["tcp", "udp"]),
    container=st.just("web"),
    container_port=st.integers(1, 65535),
)
replicas = st.lists(
    st.tuples(
        st.integers(2, 9).map(lambda last: IPv4Address(f"10.1.0.{last}")), st.integers(1, 65535)
    ),
    max_size=4,
    unique_by=lambda one: one[0],
)
targets = st.dictionaries(ports, replicas.map(tuple), max_size=6).filter(
    lambda several: len({(one.address, one.port, one.protocol) for one in several}) == len(several)
)
plans = st.sampled_from([(False,), (True,), (False, True), (False, False), (True, True)]).map(
    lambda kinds: plan_network(
        fleet(
            *(container(f"c{n}", networks={f"n{n}": Attachment()}) for n, _ in enumerate(kinds)),
            networks=tuple(Network(f"n{n}", internal=kind) for n, kind in enumerate(kinds)),
        ),
        IDENTITY,
        HostNetworks(),
    )
)


@pytest.mark.root
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans, first=targets, second=targets)
@pytest.mark.native
def test_any_plan_is_accepted_and_any_change_arrives(
    machine: Machine, plan: NetworkPlan, first: Targets, second: Targets
) -> None:
    """A change of targets leaves what putting the table in force anew would have made."""
    with Nftables() as nft:
        nft.run(table_text(plan, first), "put it in force")
        change = change_text(IDENTITY, elements(first), elements(second))
        if change:
            nft.run(change, "change it")
        changed = nft.run(f"list table inet anchor_{IDENTITY}", "look")
        nft.run(table_text(plan, second), "put it in force again")
        anew = nft.run(f"list table inet anchor_{IDENTITY}", "look")
        nft.run(f"delete table inet anchor_{IDENTITY}", "clean up")
    assert sorted(re.findall(r"[^\s,]+", changed)) == sorted(re.findall(r"[^\s,]+", anew))


@given(targets)
def test_every_port_has_a_fate(several: Targets) -> None:
    """One target: one element. Several: shares, each target has some. None: one, which refuses."""
    found = elements(several)
    count = 0
    for behind in several.values():
        count += 1 if len(behind) < 2 else SLOTS
        for address, inside in behind:
            assert f"{address} . {inside}" in found.values()
    assert len(found) == count


@given(targets)
def test_no_change_is_no_transaction(several: Targets) -> None:
    """The same targets again leave the kernel in peace."""
    assert change_text(IDENTITY, elements(several), elements(dict(several))) == ""


def test_a_change_names_only_what_changed() -> None:
    """A thousand ports do not travel because of one."""
    many = {
        PublishedPort(IPv4Address("127.0.0.1"), port, "tcp", "web", 80): (
            (IPv4Address("10.1.0.2"), 80),
        )
        for port in range(1, 1001)
    }
    port = PublishedPort(IPv4Address("127.0.0.1"), 7, "tcp", "web", 80)
    moved = many | {port: ((IPv4Address("10.1.0.3"), 80),)}
    assert change_text(IDENTITY, elements(many), elements(moved)) == (
        "delete element inet anchor_0c1d2e3 published { 127.0.0.1 . tcp . 7 }\n"
        "add element inet anchor_0c1d2e3 published { 127.0.0.1 . tcp . 7 : 10.1.0.3 . 80 }\n"
    )


def test_a_shared_port_is_dealt_evenly() -> None:
    """Two, three, four or six replicas have the same number of shares each."""
    port = PublishedPort(IPv4Address("127.0.0.1"), 80, "tcp", "web", 80)
    for replicas in (2, 3, 4, 6):
        behind = tuple((IPv4Address(f"10.1.0.{last}"), 80) for last in range(2, 2 + replicas))
        values = list(elements({port: behind}).values())
        assert {values.count(value) for value in values} == {SLOTS // replicas}


def test_an_internal_network_is_never_masqueraded() -> None:
    """The rules of a plan without a way out hold no translation that would make one."""
    plan = plan_network(
        fleet(
            container("db", Port("127.0.0.1", 80, 80), networks={"in": Attachment()}),
            networks=(Network("in", internal=True),),
        ),
        IDENTITY,
        HostNetworks(),
    )
    text = table_text(plan, {})
    assert "oifname !=" not in text.partition("chain leaving")[2].partition("}")[0]
