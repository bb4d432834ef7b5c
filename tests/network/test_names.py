"""Names in /etc/hosts: everybody within reach, nobody else."""

from __future__ import annotations

from anchor_supervisor.fleet.model import Attachment, InstanceId, Network
from anchor_supervisor.network.leases import HostNetworks
from anchor_supervisor.network.names import Names
from anchor_supervisor.network.plan import NetworkPlan, plan_network
from network_machine import IDENTITY, container, fleet

NETWORKS = (Network("front", subnet="10.1.0.0/24"), Network("back", subnet="10.2.0.0/24"))


def plan() -> NetworkPlan:
    """Plan web (twice) at the front, db at the back, app on both."""
    wanted = fleet(
        container("web", networks={"front": Attachment(("www", "web"))}, replicas=2),
        container("db", networks={"back": Attachment(("pg",))}),
        container("app", networks={"back": Attachment(("behind",)), "front": Attachment(("api",))}),
        networks=NETWORKS,
    )
    return plan_network(wanted, IDENTITY, HostNetworks())


def test_only_who_shares_a_network_is_known() -> None:
    """The front does not know the back, and the one on both knows everyone."""
    names = {
        name: {one for _, several in Names(plan()).seen_by(InstanceId(name)) for one in several}
        for name in ("web", "db", "app")
    }
    assert names["web"] == {"web", "web.1", "web.2", "www", "app", "app.1", "api"}
    assert names["db"] == {"db", "db.1", "pg", "app", "app.1", "behind"}
    assert names["app"] == {"app", "app.1", "behind", "web", "web.1", "web.2", "www", "db", "db.1", "pg"}  # fmt: skip # noqa: E501


def test_replicas_share_the_containers_name() -> None:
    """A container's name has a line for each replica, itself first, each name once a line."""
    assert Names(plan()).seen_by(InstanceId("web", 2)) == (
        ("10.1.0.3", ("web.2", "web", "www")),
        ("10.1.0.2", ("web.1", "web", "www")),
        ("10.1.0.4", ("app.1", "app", "api")),
    )


def test_an_address_on_a_shared_network_is_given() -> None:
    """One on several networks is known by an address that the asker can reach."""
    lines = dict(Names(plan()).seen_by(InstanceId("db")))
    assert lines["10.2.0.3"] == ("app.1", "app", "behind")


def test_a_stranger_knows_nobody() -> None:
    """An instance that is on no network has no lines."""
    assert Names(plan()).seen_by(InstanceId("ghost")) == ()
