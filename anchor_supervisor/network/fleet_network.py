"""A fleet's networks on this machine: put up, joined by containers, published, taken down.

The one face of this room for who carries out a fleet's life. Every method blocks for at most some
milliseconds a container, and only one may run at a time; from which thread does not matter, as
long as it is in the machine's own network namespace.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import final

from anchor_supervisor.errors import AnchorError, NetworkError
from anchor_supervisor.fleet.model import InstanceId, Port
from anchor_supervisor.network.firewall import Firewall, enable_forwarding
from anchor_supervisor.network.gateways import configure_gateway, join_sole, open_gateway
from anchor_supervisor.network.identity import bridge_prefix
from anchor_supervisor.network.inside import configure
from anchor_supervisor.network.leases import HostNetworks
from anchor_supervisor.network.links import (
    Link,
    delete_link,
    find_link,
    host_networks,
    index_of,
    make_bridge,
    own_links,
    take_down,
)
from anchor_supervisor.network.netlink import Netlink
from anchor_supervisor.network.plan import (
    Bridge,
    NetworkPlan,
    PublishedPort,
    standing_bridges,
)
from anchor_supervisor.network.ports import Reservations
from anchor_supervisor.network.ruleset import Target, Targets
from anchor_supervisor.network.sweep import remove_links
from anchor_supervisor.network.veths import Veths, Wanted
from anchor_supervisor.values import evolve, frozen

Lead = tuple[InstanceId, tuple[Port, ...] | None]
"""An instance, and the ports that lead to it from now on; None: none any more."""


@final
@frozen
class UpReport:
    """What `up` did beyond the fleet's own objects: worth a line in a log."""

    enabled_forwarding: bool = False


def used_networks(identity: str) -> HostNetworks:
    """Return the networks this machine uses, without the fleet's own. Raises NetworkError."""
    with Netlink() as netlink:
        return host_networks(netlink, identity)


@final
class FleetNetwork:
    """The networks of the fleet `identity`.

    Takes over what an earlier supervisor of the same fleet left: `up` brings what is there in
    line with the plan and leaves running containers connected.
    """

    def __init__(self, identity: str) -> None:
        """Touch nothing yet."""
        self._identity = identity
        self._plan = NetworkPlan(identity)
        self._joined: dict[InstanceId, NetworkPlan] = {}
        self._firewall = Firewall(identity)
        self._reservations = Reservations()
        self._bridges: dict[str, int] = {}
        self._sole: dict[str, Bridge] = {}
        self._veths = Veths(identity)
        self._netlink: Netlink | None = None
        # Each with the ports it is led to by: those of the plan, or others while it is replaced.
        self._published: dict[InstanceId, tuple[Port, ...] | None] = {}

    def up(self, plan: NetworkPlan, beside: Sequence[NetworkPlan] = ()) -> UpReport:
        """Make the machine agree with `plan`; again, with another plan, while containers run.

        The bridges of the plans `beside` it stay, for the containers that are on them. Holds the
        published ports first, so that one in use changes nothing. Raises NetworkError, HostError;
        what was made until then stays for `down`, or for another `up`.
        """
        self._reservations.hold(plan.ports)
        plans = (plan, *beside)
        self._plan = plan
        self._published = {
            one: ports
            for one, ports in self._published.items()
            if any(one in each.endpoints for each in plans)
        }
        bridges = standing_bridges(plans)
        # The rules come before the bridges: no packet is ever without them.
        if bridges:
            standing = MappingProxyType({bridge.name: bridge for bridge in bridges})
            self._firewall.apply(evolve(plan, bridges=standing), self._targets())
        self._sole = {bridge.name: bridge for bridge in bridges if bridge.sole}
        netlink = self._wire()
        own = own_links(netlink, self._identity)
        self._veths.remember(own)
        self._make_bridges(netlink, [one for one in bridges if not one.sole], own)
        # Running containers that may be asked for themselves from now on.
        running = [one for each in self._joined for one in plan.endpoints.get(each, ())]
        netlink.perform(self._veths.reflections(running), forgive=(errno.ENODEV,))
        if not bridges and self._firewall.in_force:
            self._firewall.remove()
        forwards = any(each.needs_forwarding for each in plans)
        return UpReport(enabled_forwarding=forwards and enable_forwarding())

    def strange_ports(self, plan: NetworkPlan) -> tuple[PublishedPort, ...]:
        """Say which ports of a plan somebody else may have; this fleet has not."""
        return self._reservations.strange(plan.ports)

    def attach(self, instance: InstanceId, net_fd: int, plan: NetworkPlan | None = None) -> None:
        """Join one to the networks of `plan`, else of the last, as `attach_many`. May raise."""
        (error,) = self.attach_many([(instance, net_fd, plan or self._plan)])
        if error is not None:
            raise error

    def attach_many(
        self, several: Sequence[tuple[InstanceId, int, NetworkPlan]]
    ) -> list[AnchorError | None]:
        """Give each new network namespace its interfaces; return what went wrong with each.

        They are those of its plan, which stands. A namespace is as `create_sandbox` makes it: one
        that failed is to be dropped, not tried again. An instance that had another namespace loses
        the old one's connection. One round trip for all of them, and one inside each.
        """
        errors: list[AnchorError | None] = [None] * len(several)
        endpoints = [plan.endpoints.get(instance, ()) for instance, _, plan in several]
        wanted = [
            (place, Wanted(several[place][1], endpoint, number))
            for place, of_one in enumerate(endpoints)
            for number, endpoint in enumerate(of_one)
        ]
        made = self._make([one for _, one in wanted])
        for (place, _), error in zip(wanted, made, strict=True):
            errors[place] = errors[place] or error
        # Where there is no network there is nothing to be said inside.
        there = [place for place, of_one in enumerate(endpoints) if of_one and not errors[place]]
        configured = configure([(several[place][1], endpoints[place]) for place in there])
        for place, refused in zip(there, configured, strict=True):
            errors[place] = refused
        self._joined |= {
            instance: plan
            for (instance, _, plan), error in zip(several, errors, strict=True)
            if error is None
        }
        return errors

    def forget(self, instance: InstanceId) -> None:
        """Drop what is known of an instance whose namespace is gone."""
        self._published.pop(instance, None)
        self._joined.pop(instance, None)

    def address(self, instance: InstanceId) -> IPv4Address | None:
        """Return where published ports find an instance: as it has joined, or as is planned."""
        return self._joined.get(instance, self._plan).target(instance)

    def publish(self, *instances: InstanceId, ports: tuple[Port, ...] | None = None) -> None:
        """Lead the published ports to these running instances too. Raises NetworkError.

        `ports` are their own: what they listen to, also once the plan says otherwise. None: those
        of the plan. Again, with others: from now on to those.
        """
        self._change_published(self._published | dict.fromkeys(instances, ports))

    def unpublish(self, *instances: InstanceId) -> None:
        """Stop leading published ports to these instances. Raises NetworkError."""
        left = {one: ports for one, ports in self._published.items() if one not in instances}
        self._change_published(left)

    def lead(self, wishes: Iterable[Lead]) -> None:
        """Publish each instance with these ports of its own, or unpublish it (None), in order.

        All in one transaction. Raises NetworkError; then nothing has changed.
        """
        published = dict(self._published)
        for instance, ports in wishes:
            if ports is None:
                published.pop(instance, None)
            else:
                published[instance] = ports
        self._change_published(published)

    def down(self) -> tuple[str, ...]:
        """Take away links, rules and held ports; return the names of the links there were.

        For when no process of the containers is left. Raises NetworkError. Twice is allowed.
        """
        # Set down first, because no packet is ever without the rules. The links go after them:
        # both wait for the same RCU grace period then, and closing a netfilter socket for none.
        if self._netlink is not None:
            gateways = (*self._bridges, *self._sole)
            self._netlink.perform([take_down(one) for one in gateways], forgive=(errno.ENODEV,))
            self._netlink.close()
            self._netlink = None
        if self._firewall.in_force:
            self._firewall.remove()
        links = remove_links(self._identity)
        self._firewall.close()
        self._reservations.release()
        self._plan = NetworkPlan(self._identity)
        self._veths = Veths(self._identity)
        self._bridges, self._sole, self._joined, self._published = {}, {}, {}, {}
        return links

    def _change_published(self, published: dict[InstanceId, tuple[Port, ...] | None]) -> None:
        before, self._published = self._published, published
        concerned = {one.container for one, _ in published.items() ^ before.items()}
        if not any(port.container in concerned for port in self._plan.ports):
            return
        try:
            self._firewall.set_port_targets(self._targets())
        except AnchorError:
            self._published = before
            raise

    def _targets(self) -> Targets:
        behind: dict[str, list[tuple[InstanceId, tuple[Port, ...] | None]]] = {}
        for instance, own in sorted(self._published.items()):
            behind.setdefault(instance.container, []).append((instance, own))
        return {
            port: tuple(self._behind(port, behind.get(port.container, ())))
            for port in self._plan.ports
        }

    def _behind(
        self, port: PublishedPort, running: Iterable[tuple[InstanceId, tuple[Port, ...] | None]]
    ) -> Iterator[Target]:
        for instance, own in running:
            address = self.address(instance)
            inside = port.container_port if own is None else _inside(own, port)
            if address is not None and inside is not None:
                yield address, inside

    def _make(self, wanted: Sequence[Wanted]) -> list[NetworkError | None]:
        if not self._sole:
            return self._veths.make(self._wire(), self._bridges, wanted)
        return [
            join_sole(self._wire(), self._identity, self._sole[one.endpoint.bridge], one)
            for one in wanted
        ]

    def _make_bridges(
        self, netlink: Netlink, bridges: Sequence[Bridge], own: Sequence[Link]
    ) -> None:
        netlink.perform([make_bridge(self._identity, bridge) for bridge in bridges])
        answers = netlink.exchange([find_link(bridge.name) for bridge in bridges])
        self._bridges = {
            bridge.name: index_of(answer) for bridge, answer in zip(bridges, answers, strict=True)
        }
        for bridge in bridges:
            configure_gateway(bridge)
        netlink.perform(
            [
                message
                for bridge in bridges
                for message in open_gateway(bridge, self._bridges[bridge.name])
            ]
        )
        prefix = bridge_prefix(self._identity)
        stale = [
            link.name
            for link in own
            if link.name.startswith(prefix) and link.name not in {*self._bridges, *self._sole}
        ]
        netlink.perform([delete_link(name) for name in stale], forgive=(errno.ENODEV,))

    def _wire(self) -> Netlink:
        """One socket for as long as the networks are up; nobody sends it anything unasked."""
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink


def _inside(own: Sequence[Port], port: PublishedPort) -> int | None:
    """What a published port leads to in a container with these ports; None: to nothing."""
    place = (str(port.address), port.port, port.protocol)
    ports = {(one.host_address, one.host_port, one.protocol): one.container_port for one in own}
    return ports.get(place)
