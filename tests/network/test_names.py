"""Names in /etc/hosts: everybody within reach, nobody else."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import Attachment, InstanceId, Network
from anchor_supervisor.network.leases import HostNetworks
from anchor_supervisor.network.names import Names
from anchor_supervisor.network.plan import Bridge, Endpoint, NetworkPlan, plan_network
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


def found(name: str, replica: int = 1) -> list[tuple[str, tuple[str, ...]]]:
    """What an instance finds: the address and the names of each line."""
    seen = Names(plan()).seen_by(InstanceId(name, replica))
    assert seen is not None
    parted = [line.partition("\t") for line in seen.lines.splitlines()]
    return [(address, tuple(names.split(" "))) for address, _, names in parted]


def test_only_who_shares_a_network_is_known() -> None:
    """The front does not know the back, and the one on both knows everyone."""
    names = {
        name: {one for _, several in found(name) for one in several}
        for name in ("web", "db", "app")
    }
    assert names["web"] == {"web", "web.1", "web.2", "www", "app", "app.1", "api"}
    assert names["db"] == {"db", "db.1", "pg", "app", "app.1", "behind"}
    assert names["app"] == {"app", "app.1", "behind", "web", "web.1", "web.2", "www", "db", "db.1", "pg"}  # fmt: skip # noqa: E501


def test_replicas_share_the_containers_name() -> None:
    """A container's name has a line for each replica, itself first, each name once a line."""
    assert found("web", 2) == [
        ("10.1.0.3", ("web.2", "web", "www")),
        ("10.1.0.2", ("web.1", "web", "www")),
        ("10.1.0.4", ("app.1", "app", "api")),
    ]


def test_an_address_on_a_shared_network_is_given() -> None:
    """One on several networks is known by an address that the asker can reach."""
    assert dict(found("db"))["10.2.0.3"] == ("app.1", "app", "behind")


def test_a_stranger_knows_nobody() -> None:
    """An instance that is on no network has no lines."""
    assert Names(plan()).seen_by(InstanceId("ghost")) is None


def test_those_on_the_same_networks_share_one_text() -> None:
    """A thousand replicas hold one list of a thousand lines, not a thousand lists."""
    names = Names(plan())
    first, second = (names.seen_by(InstanceId("web", number)) for number in (1, 2))
    assert first is not None
    assert second is not None
    assert first.everybody is second.everybody


def by_definition(plan: NetworkPlan, instance: InstanceId) -> str:
    """Itself first, then everybody on each of its networks who is not an update's addition."""
    lines: dict[InstanceId, str] = {}

    def tell(one: InstanceId, endpoint: Endpoint) -> None:
        aliases = plan.aliases.get((endpoint.network, one.container), ())
        names = dict.fromkeys((str(one), one.container, *aliases))
        lines.setdefault(one, f"{endpoint.address.ip}\t{' '.join(names)}\n")

    for own in plan.endpoints[instance]:
        tell(instance, own)
        for other, endpoints in plan.endpoints.items():
            for endpoint in endpoints:
                if endpoint.network == own.network and other not in plan.surge:
                    tell(other, endpoint)
    return "".join(lines.values())


@st.composite
def plans(draw: st.DrawFn) -> NetworkPlan:
    """Any plan of a few containers on up to three networks, in any order on each."""
    networks = ("front", "back", "side")
    bridges = {
        name: Bridge(name, f"an-{index}", index, IPv4Network(f"10.{index}.0.0/24"), internal=False)
        for index, name in enumerate(networks)
    }
    endpoints: dict[InstanceId, tuple[Endpoint, ...]] = {}
    aliases: dict[tuple[str, str], tuple[str, ...]] = {}
    surge: set[InstanceId] = set()
    for name in draw(st.permutations(("web", "db", "app", "job"))):
        on = draw(st.lists(st.sampled_from(networks), unique=True))
        for network in on:
            aliases[network, name] = tuple(draw(st.lists(st.sampled_from(("x", name)))))
        replicas = draw(st.integers(1, 4))
        for replica in range(1, replicas + 1):
            one = InstanceId(name, replica)
            surge |= {one} if replica > 1 and draw(st.booleans()) else set()
            endpoints[one] = tuple(
                Endpoint(
                    network,
                    bridges[network].name,
                    f"eth{number}",
                    IPv4Interface((bridges[network].subnet[len(endpoints) + 2], 24)),
                )
                for number, network in enumerate(on)
            )
    return NetworkPlan(IDENTITY, bridges, endpoints, aliases, surge=frozenset(surge))


@given(plans())
def test_what_is_joined_once_is_what_each_would_write(plan: NetworkPlan) -> None:
    """Cutting the own line out of the common text gives the file that the definition gives."""
    names = Names(plan)
    for instance in plan.endpoints:
        seen = names.seen_by(instance)
        assert ("" if seen is None else seen.lines) == by_definition(plan, instance)
        assert seen is None or seen.address == str(plan.endpoints[instance][0].address.ip)
