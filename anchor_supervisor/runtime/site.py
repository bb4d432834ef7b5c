"""What all containers of a running fleet share on this host: directories, images, network, cgroup.

Opened once the fleet's lock is held, given back when the fleet is done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import final

import structlog
from attrs import define, field

from anchor_supervisor.fleet.model import Fleet, InstanceId
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.store import Store
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.init_image import open_init
from anchor_supervisor.network.fleet_network import FleetNetwork, used_networks
from anchor_supervisor.network.names import Names
from anchor_supervisor.network.plan import NetworkPlan, plan_network
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.id_ranges import IdRanges
from anchor_supervisor.runtime.limits import (
    end_cgroup,
    enforced_limits,
    fleet_cgroup,
    make_fleet_cgroup,
)
from anchor_supervisor.runtime.provisions import provisions

log = structlog.get_logger("host")

RESOLV_CONF = Path("/etc/resolv.conf")


@final
@define(eq=False)
class Site:
    """Shared by every start of the fleet; its methods may be called from worker threads.

    `hidden` are the supervisor's own directories, masked where a container sees the host's root.
    `init` is a descriptor of our small init. `layers` are by container name, and so are `images`,
    for those that came from the store. `fleet` is complete with what the images say.
    """

    fleet: Fleet
    run: Path
    writable: Path
    data: Path
    ids: IdRanges
    cgroup: Cgroup
    plan: NetworkPlan
    names: Names
    network: FleetNetwork
    layers: dict[str, Layers]
    images: dict[str, Image]
    init: int
    resolv_conf: str
    hidden: tuple[str, ...]
    enforced: frozenset[str]
    warnings: tuple[str, ...]
    # The network room wants one caller at a time; it is called from several workers here.
    _network_lock: threading.Lock = field(factory=threading.Lock, init=False)

    def attach(self, instance: InstanceId, net: int) -> None:
        """Give the instance its interfaces in the network namespace `net`."""
        with self._network_lock:
            self.network.attach(instance, net)

    def publish(self, instance: InstanceId) -> None:
        """Lead the instance's published ports to it: it runs."""
        with self._network_lock:
            self.network.publish(instance)

    def unpublish(self, instance: InstanceId) -> None:
        """Lead its published ports to it no more; connections are refused, or go to a replica."""
        with self._network_lock:
            self.network.unpublish(instance)

    def address(self, instance: InstanceId) -> str | None:
        """The instance's first address; None where it has no network of the fleet's."""
        address = self.plan.target(instance)
        return None if address is None else str(address)

    def complain(self, sentence: str) -> None:
        """Say that output could not be stored."""
        log.warning(sentence)


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
        findings = preflight.look(fleet)
        findings.refuse()
        images: Mapping[str, Image] = {}
        if layers is None:
            store = Store(data)
            lease = opened.enter_context(
                store.lease(f"fleet {fleet.name}", outlived_by=fleet_cgroup(identity).path)
            )
            found = provisions(fleet, store, lease)
            fleet, layers, images = found.fleet, found.layers, found.images
        if check_programs:
            preflight.require_commands(fleet, layers)
        cgroup = make_fleet_cgroup(identity, fleet)
        opened.callback(end_cgroup, cgroup)
        network = FleetNetwork(identity)
        opened.callback(network.down)
        plan = plan_network(fleet, identity, used_networks(identity))
        preflight.require_ports(fleet, plan)
        report = network.up(plan)
        if report.enabled_forwarding:
            log.info("enabled net.ipv4.ip_forward, for containers to reach out")
        init = open_init()
        opened.callback(os.close, init)
        yield Site(
            fleet=fleet,
            run=run,
            writable=data / "fleets" / identity,
            data=data,
            ids=IdRanges(places.run_dir() / "ids", identity),
            cgroup=cgroup,
            plan=plan,
            names=Names(plan),
            network=network,
            layers=dict(layers),
            images=dict(images),
            init=init,
            resolv_conf=_resolv_conf(),
            hidden=(str(places.run_dir()), str(data)),
            enforced=enforced_limits(cgroup),
            warnings=findings.warnings,
        )


def _resolv_conf() -> str:
    with suppress(OSError):
        return RESOLV_CONF.read_text(errors="replace")
    return ""
