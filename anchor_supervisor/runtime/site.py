"""What all containers of a running fleet share on this host: directories, images, network, cgroup.

Opened once the fleet's lock is held, given back when the fleet is done. While the fleet changes,
what its containers were made by stands beside what they are to be made by: images stay held and
bridges stay up until nobody uses them any more.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import final

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Container, Fleet, Image, InstanceId
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.init_image import open_init
from anchor_supervisor.kernel.own_proc import OwnProc
from anchor_supervisor.network.fleet_network import FleetNetwork, Lead, used_networks
from anchor_supervisor.network.leases import Leases, NetworkLease
from anchor_supervisor.network.names import Names, Seen
from anchor_supervisor.network.plan import (
    Bridge,
    NetworkPlan,
    plan_network,
    standing_bridges,
)
from anchor_supervisor.observability import places
from anchor_supervisor.observability.log import log
from anchor_supervisor.rootfs.devices import Devices, open_devices
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.skeleton import make_skeleton
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.completion import Complete, complete
from anchor_supervisor.runtime.id_ranges import IdRanges
from anchor_supervisor.runtime.limits import end_cgroup, enforced_limits, make_fleet_cgroup
from anchor_supervisor.runtime.prepared_start import PreparedStarts
from anchor_supervisor.runtime.together import Together
from anchor_supervisor.values import define, field, frozen

RESOLV_CONF = Path("/etc/resolv.conf")


@final
@frozen(eq=False)
class Layout:
    """A fleet, and its networks on this machine."""

    fleet: Fleet
    plan: NetworkPlan
    names: Names

    def suits(self, container: Container) -> bool:
        """Whether a container is on the networks that this says."""
        own = self.fleet.containers.get(container.name)
        return own is not None and (own.networks, own.network_mode) == (
            container.networks,
            container.network_mode,
        )


Joining = tuple[InstanceId, Container, int]
"""An instance, made of this container, whose network namespace is to be joined to its networks."""


@final
@define(eq=False)
class Site:
    """Shared by every start of the fleet; its methods may be called from worker threads.

    `hidden` are the supervisor's own directories, masked where a container sees the host's root.
    `logs` has a directory for what each instance says. `init` is a descriptor of our small init.
    `layers` are the directories of every image in use. `layouts`: the present one first, then those
    that containers still run by. `skeleton` lies beneath every image; `no_input` is /dev/null.
    `proc` is for setting up network namespaces.
    """

    run: Path
    writable: Path
    data: Path
    logs: Path
    ids: IdRanges
    cgroup: Cgroup
    network: FleetNetwork
    layouts: tuple[Layout, ...]
    layers: dict[Image, Layers]
    init: int
    skeleton: Path
    devices: Devices
    no_input: int
    proc: OwnProc
    resolv_conf: str
    hidden: tuple[str, ...]
    enforced: frozenset[str]
    warnings: tuple[str, ...]
    _held: list[tuple[frozenset[Image], ExitStack]]
    _up: tuple[NetworkPlan, tuple[Bridge, ...]] | None
    # The network room wants one caller at a time; it is called from several workers here.
    _network_lock: threading.Lock = field(factory=threading.Lock, init=False)
    prepared: PreparedStarts = field(factory=PreparedStarts, init=False)
    _attaching: Together[Joining] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Serve the starts that come together together."""
        self._attaching = Together(self._network_lock, self._attach_all)

    @property
    def fleet(self) -> Fleet:
        """The fleet as it is to be: complete with what the images say."""
        return self.layouts[0].fleet

    @property
    def plan(self) -> NetworkPlan:
        """The fleet's networks as they are to be."""
        return self.layouts[0].plan

    def attach(
        self, instance: InstanceId, container: Container, net: int, *, beside: bool
    ) -> Callable[[], None]:
        """Begin to give the instance its interfaces in the network namespace `net`.

        Returns what waits until they are there, and raises AnchorError where that cannot be. `net`
        has to stay open until then. `beside` all else, where a processor is free for that; in a
        burst of starts none is, and whoever has to wait first gives them to all that are there.
        """
        joining = (instance, container, net)
        ticket = self._attaching.begin(joining) if beside else self._attaching.put(joining)
        return functools.partial(self._attaching.end, ticket)

    def close(self) -> None:
        """End the thread that gives interfaces to instances."""
        self._attaching.close()

    def forget(self, instance: InstanceId) -> None:
        """Drop what the network knows of an instance that is no more."""
        with self._network_lock:
            self.network.forget(instance)

    def lead(self, wishes: Sequence[Lead]) -> Sequence[AnchorError | None]:
        """Lead published ports to instances that run with these, or away from them (None).

        In one transaction; where that is refused, each by itself. Where nothing is led to,
        connections are refused, or go to a replica.
        """
        with self._network_lock:
            try:
                self.network.lead(wishes)
            except AnchorError as error:
                if len(wishes) == 1:
                    return [error]
            else:
                return [None] * len(wishes)
            return [self._lead_one(wish) for wish in wishes]

    def address(self, instance: InstanceId) -> str | None:
        """The instance's first address; None where it has no network of the fleet's."""
        address = self.network.address(instance)
        return None if address is None else str(address)

    def address_in_plan(self, instance: InstanceId, container: Container) -> str | None:
        """The address that the instance, made of this container, will have; None: no network."""
        address = self._layout(instance, container).plan.target(instance)
        return None if address is None else str(address)

    def names(self, instance: InstanceId, container: Container) -> Seen | None:
        """The addresses and names that the instance, made of this container, can reach."""
        return self._layout(instance, container).names.seen_by(instance)

    def planned(self, fleet: Fleet) -> NetworkPlan:
        """Plan the networks of the fleet as it may become. Raises AnchorError for what cannot be.

        Also where somebody else has a port of it.
        """
        with self._network_lock:
            plan = plan_network(
                fleet,
                self.plan.identity,
                used_networks(self.plan.identity),
                self._leases(fleet),
                beside=[layout.plan for layout in self.layouts],
                surge=True,
            )
            preflight.require_ports(fleet, self.network.strange_ports(plan))
            return plan

    def reconfigure(self, wanted: Complete) -> None:
        """Be a site for another fleet of that name too, and hold its images. Blocks.

        What runs goes on as it is. Raises AnchorError, and then nothing has changed.
        """
        plan = self.planned(wanted.fleet)
        make_fleet_cgroup(plan.identity, wanted.fleet)
        with self._network_lock:
            self._put_up(plan, self.layouts)
            self.layouts = (Layout(wanted.fleet, plan, Names(plan)), *self.layouts)
        self.layers |= wanted.layers
        if wanted.held is not None:
            self._held.insert(0, (frozenset(wanted.layers), wanted.held))
        self.enforced = enforced_limits(self.cgroup)
        self.warnings = wanted.warnings

    def settle(self, in_use: Collection[tuple[InstanceId, Container]]) -> None:
        """Let go of the networks and images that neither the fleet nor any of these uses. Blocks.

        Raises NetworkError.
        """
        with self._network_lock:
            needed = {id(self._layout(*one)) for one in in_use}
            kept = [layout for layout in self.layouts[1:] if id(layout) in needed]
            if len(kept) + 1 < len(self.layouts):
                self._put_up(self.plan, kept)
                self.layouts = (self.layouts[0], *kept)
        images = {container.image for _, container in in_use}
        self._let_go(images.union(one.image for one in self.fleet.containers.values()))

    def complain(self, sentence: str) -> None:
        """Say that output could not be stored."""
        log.warning(sentence)

    def _attach_all(self, wave: Sequence[Joining]) -> Sequence[AnchorError | None]:
        several = [(one, net, self._layout(one, made_of).plan) for one, made_of, net in wave]
        return self.network.attach_many(several)

    def _lead_one(self, wish: Lead) -> AnchorError | None:
        try:
            self.network.lead([wish])
        except AnchorError as error:
            return error
        return None

    def _layout(self, instance: InstanceId, container: Container) -> Layout:
        """Find the newest layout with a place for the instance as this container wants it."""
        suitable = (
            layout
            for layout in self.layouts
            if layout.suits(container) and instance in layout.plan.endpoints
        )
        return next(suitable, self.layouts[0])

    def _leases(self, fleet: Fleet) -> Leases:
        """What each network has now; of several, that which fits what the fleet declares."""
        leases: dict[str, NetworkLease] = {}
        for layout in reversed(self.layouts):
            for name, lease in layout.plan.leases.items():
                network = fleet.networks.get(name)
                declared = None if network is None else network.subnet
                if name not in leases or declared is None or _is_subnet(declared, lease.subnet):
                    leases[name] = lease
        return leases

    def _put_up(self, plan: NetworkPlan, beside: Collection[Layout]) -> None:
        """Bring the machine in line with a plan; put the present one back where that fails."""
        plans = [layout.plan for layout in beside]
        wanted = plan, standing_bridges([plan, *plans])
        if wanted == self._up:
            return
        self._up = None
        try:
            report = self.network.up(plan, plans)
        except AnchorError:
            present, *others = [layout.plan for layout in self.layouts]
            try:
                self.network.up(present, others)
            except AnchorError as error:
                log.exception("the networks could not be put back", why=str(error))
            raise
        self._up = wanted
        if report.enabled_forwarding:
            log.info("enabled net.ipv4.ip_forward, for containers to reach out")

    def _let_go(self, in_use: set[Image]) -> None:
        """Drop the holds on images that nobody uses, or that a newer hold is on as well."""
        kept = []
        for images, held in self._held:
            if images & in_use:
                kept.append((images, held))
            else:
                held.close()
            in_use = in_use - images
        self._held[:] = kept
        held_images = frozenset[Image]().union(*(images for images, _ in kept))
        for image in set(self.layers) - held_images:
            del self.layers[image]


@contextmanager
def open_site(
    fleet: Fleet, layers: Mapping[str, Layers] | None = None, *, check_programs: bool = True
) -> Iterator[Site]:
    """Look at everything the fleet needs, then make what its containers share.

    `layers` stand for the images, by container name, where the caller has found them already.

    Raises FleetError or HostError with everything that is wrong; then nothing has been made.
    """
    run, data = places.fleet_run_dir(fleet.name), places.data_dir()
    identity = places.fleet_id(fleet.name)
    with ExitStack() as opened:
        make_private(data)
        ready = complete(fleet, layers, check_programs=check_programs)
        held = [] if ready.held is None else [(frozenset(ready.layers), ready.held)]
        opened.callback(_close_all, held)
        cgroup = make_fleet_cgroup(identity, ready.fleet)
        opened.callback(end_cgroup, cgroup)
        network = FleetNetwork(identity)
        opened.callback(network.down)
        # What comes from no file cannot be changed, nor have replicas.
        plan = plan_network(
            ready.fleet, identity, used_networks(identity), fixed=ready.fleet.file is None
        )
        preflight.require_ports(ready.fleet, plan.ports)
        report = network.up(plan)
        if report.enabled_forwarding:
            log.info("enabled net.ipv4.ip_forward, for containers to reach out")
        init = open_init()
        opened.callback(os.close, init)
        devices = open_devices()
        opened.callback(devices.close)
        no_input = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        opened.callback(os.close, no_input)
        proc = OwnProc()
        opened.callback(proc.close)
        site = Site(
            run=run,
            writable=data / "fleets" / identity,
            data=data,
            logs=places.fleet_log_dir(fleet.name),
            ids=IdRanges(places.run_dir() / "ids", identity),
            cgroup=cgroup,
            network=network,
            layouts=(Layout(ready.fleet, plan, Names(plan)),),
            layers=dict(ready.layers),
            init=init,
            skeleton=make_skeleton(data),
            devices=devices,
            no_input=no_input,
            proc=proc,
            resolv_conf=_resolv_conf(),
            hidden=(str(places.run_dir()), str(data)),
            enforced=enforced_limits(cgroup),
            warnings=ready.warnings,
            held=held,
            up=(plan, standing_bridges([plan])),
        )
        opened.callback(site.close)
        yield site


def _close_all(held: list[tuple[frozenset[Image], ExitStack]]) -> None:
    with ExitStack() as closing:
        for _, one in held:
            closing.push(one)


def _is_subnet(declared: str, subnet: IPv4Network) -> bool:
    with suppress(ValueError):
        return IPv4Network(declared) == subnet
    return False


def _resolv_conf() -> str:
    with suppress(OSError):
        return RESOLV_CONF.read_text(errors="replace")
    return ""
