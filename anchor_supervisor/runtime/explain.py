"""`--plan`: every step that a start of the fleet would take, in words, with nothing started.

The steps are made by the same functions as a real start's; only the descriptors are missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, final

from anchor_supervisor.errors import HostError, UnfitHostError
from anchor_supervisor.fleet.effects import asks_for_notices
from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    ImageKind,
    InstanceId,
    NetworkMode,
    UserNamespace,
    VolumeKind,
    instances,
)
from anchor_supervisor.images.store import Store
from anchor_supervisor.kernel import cgroup_limits
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.network.fleet_network import used_networks
from anchor_supervisor.network.plan import NetworkPlan, plan_network
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs import files, plan, users
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime import notify_socket, preflight
from anchor_supervisor.runtime.holdings import host_name
from anchor_supervisor.runtime.provisions import image_problem, provisions
from anchor_supervisor.runtime.recipe import (
    Joined,
    container_powers,
    container_process,
    container_steps,
)
from anchor_supervisor.values import frozen

NONE: Final = -1  # where a real start has a descriptor


@final
@frozen
class InstancePlan:
    """What one instance's start would do. `prepared` happens once, `steps` at every start."""

    name: str
    waits_for: tuple[str, ...]
    prepared: tuple[str, ...]
    steps: tuple[str, ...]


@final
@frozen
class FleetPlan:
    """What a start of the whole fleet would do."""

    fleet: str
    shared: tuple[str, ...]
    instances: tuple[InstancePlan, ...]


def explain(fleet: Fleet) -> FleetPlan:
    """Plan the fleet on this machine. An archive is unpacked, as a first start would.

    Raises FleetError or HostError as a start would.
    """
    preflight.look(fleet).refuse()
    _require_images(fleet)
    private_mount_namespace()
    store = Store(places.data_dir())
    with store.lease(f"plan of {fleet.name}") as lease:
        found = provisions(fleet, store, lease)
        return _explain(found.fleet, found.layers)


def _require_images(fleet: Fleet) -> None:
    """Refuse what cannot be planned: an image says of its containers what nobody knows without."""
    problems = []
    for container in preflight.absent_images(fleet).values():
        name = container.image.reference
        hint = f"`anchor build -t {name}`" if container.build else f"`anchor pull {name}`"
        message = f"image `{name}` is not here yet, so nothing can be planned over it"
        error = HostError(message, hint=f"{hint} first: a plan makes and brings nothing")
        problems.append(image_problem(fleet, container, error))
    if problems:
        raise UnfitHostError(problems)


def _explain(fleet: Fleet, layers: Mapping[str, Layers]) -> FleetPlan:
    preflight.require_commands(fleet, layers)
    identity = places.fleet_id(fleet.name)
    network = plan_network(fleet, identity, used_networks(identity))
    cgroup = f"make the cgroup `anchor-{identity}`, with one beneath it for each container"
    return FleetPlan(
        fleet.name,
        (cgroup, *network.describe()),
        tuple(
            _instance(instance, fleet.containers[instance.container], layers, network)
            for instance in instances(fleet)
        ),
    )


def _instance(
    instance: InstanceId,
    container: Container,
    layers: Mapping[str, Layers],
    network: NetworkPlan,
) -> InstancePlan:
    waits = tuple(f"`{name}` {condition}" for name, condition in container.depends_on.items())
    credentials = _credentials(container, layers[container.name])
    return InstancePlan(
        str(instance),
        waits,
        _prepared(instance, container, network),
        _steps(instance, container, credentials),
    )


def _prepared(instance: InstanceId, container: Container, network: NetworkPlan) -> tuple[str, ...]:
    """What is made once and held for the fleet's life."""
    own = ["ipc", "uts"]
    if container.network_mode is not NetworkMode.HOST:
        own.insert(0, "network")
    if container.user_namespace is UserNamespace.AUTO:
        own.insert(0, "user (65536 ids of its own)")
    limits = [
        f"limit {item.key}: write `{item.value}` to `{item.file}`"
        for item in cgroup_limits.settings(container.limits)
    ]
    addresses = [
        f"{one.interface} with {one.address} on network `{one.network}`"
        for one in network.endpoints.get(instance, ())
    ]
    root = f"root: {container.root} of image `{container.image.reference}`"
    return (f"new namespaces: {', '.join(own)}", *addresses, *limits, root)


def _credentials(container: Container, layers: Layers) -> Credentials:
    with ExitStack() as opened:
        root = merged(layers)
        opened.callback(os.close, root)
        return users.lookup(root, container.user)


def _steps(instance: InstanceId, container: Container, credentials: Credentials) -> tuple[str, ...]:
    hostname = host_name(container, instance)
    process = container_process(container, hostname, credentials, (NONE, NONE, NONE))
    steps = container_steps(
        container_powers(container),
        hostname,
        Joined(
            user=NONE if container.user_namespace is UserNamespace.AUTO else None,
            net=None if container.network_mode is NetworkMode.HOST else NONE,
            ipc=NONE,
            uts=NONE,
        ),
        plan.root_steps(_view(container)),
        process,
        init=NONE,
        stay=container.init,
        status=NONE,
    )
    return tuple(step.describe() for step in steps)


def _view(container: Container) -> plan.View:
    hidden = (str(places.run_dir()), str(places.data_dir()))
    notify = (notify_socket.TARGET,) if asks_for_notices(container) else ()
    return plan.View(
        root=NONE,
        null=NONE,
        devices=dict.fromkeys(plan.DEVICES, NONE),
        volumes=tuple(
            plan.MountedVolume(volume, None if volume.kind is VolumeKind.TMPFS else NONE)
            for volume in container.volumes
        ),
        etc=dict.fromkeys((files.HOSTS, files.HOSTNAME, files.RESOLV_CONF, *notify), NONE),
        grants=tuple(plan.MountedGrant(grant, NONE) for grant in container.grants),
        sysfs=NONE if container.network_mode is NetworkMode.HOST else None,
        read_only=container.read_only,
        masked_paths=container.masked_paths,
        hidden=hidden if container.image.kind is ImageKind.HOST else (),
        sysctls=container.sysctls,
        processors=os.cpu_count() or 1,
    )
