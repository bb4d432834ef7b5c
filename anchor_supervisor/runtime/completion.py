"""A fleet looked at from every side, and completed, before anything of it is made or changed.

The one way to `complete`: a start, a plan and an apply cannot disagree about what can run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import final

from anchor_supervisor.fleet.model import Fleet, Image
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.limits import fleet_cgroup
from anchor_supervisor.runtime.provisions import (
    Provisions,
    needs_store,
    plain_provisions,
    provisions,
)
from anchor_supervisor.values import frozen


@final
@frozen(eq=False)
class Complete:
    """A fleet that this machine can run. `layers` are its images' directories.

    `held` keeps the images in the store until it is closed; None where others hold them.
    """

    fleet: Fleet
    layers: Mapping[Image, Layers]
    warnings: tuple[str, ...] = ()
    held: ExitStack | None = None


def complete(
    fleet: Fleet, layers: Mapping[str, Layers] | None = None, *, check_programs: bool = True
) -> Complete:
    """Look at everything a start of the fleet needs, and fill in what its images say. Blocks.

    `layers` stand for the images, by container name, where the caller has found them already.
    Raises FleetError or HostError with everything that is wrong; then nothing is held.
    """
    findings = preflight.look(fleet)
    findings.refuse()
    with ExitStack() as held:
        if layers is None:
            found = _held(fleet, held) if needs_store(fleet) else plain_provisions(fleet)
            fleet, layers = found.fleet, found.layers
        if check_programs:
            preflight.require_commands(fleet, layers)
        by_image = {one.image: layers[name] for name, one in fleet.containers.items()}
        return Complete(fleet, by_image, findings.warnings, held.pop_all())


def _held(fleet: Fleet, held: ExitStack) -> Provisions:
    """Find the fleet's images, and keep them in the store for as long as its cgroup is there."""
    from anchor_supervisor.images.store import Store

    store = Store(places.data_dir())
    outlived_by = fleet_cgroup(places.fleet_id(fleet.name)).path
    lease = held.enter_context(store.lease(f"fleet {fleet.name}", outlived_by=outlived_by))
    return provisions(fleet, store, lease)
