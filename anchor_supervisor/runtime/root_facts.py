"""Where an instance's root is, and what an image of it would say: for `cp`, `diff` and `commit`."""

from __future__ import annotations

from attrs import asdict

from anchor_supervisor.control.shapes import ProcessFacts, RootContext
from anchor_supervisor.fleet.model import Container
from anchor_supervisor.kernel import pidfd
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.plan import RESERVED
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.supervision.states import State


def root_facts(
    site: Site,
    holdings: Holdings,
    layers: Layers,
    run: HostRun | None,
    state: State,
    hold: int | None,
) -> RootContext:
    """Tell it as it is at this moment; a run that has not been reaped keeps its pid its own."""
    container = holdings.container
    identity = None if run is None or run.ended else pidfd.identify(run.pid)
    return RootContext(
        fleet=site.fleet.name,
        name=str(holdings.instance),
        state=state.value,
        pid=identity.pid if identity else None,
        start_time=identity.start_time if identity else None,
        hold=hold,
        image=container.image.reference,
        image_kind=container.image.kind.value,
        digest=layers.digest,
        layers=[str(path) for path in layers.paths],
        host=layers.host,
        strategy=container.root.value,
        read_only=container.read_only,
        volatile=container.volatile,
        writable=str(holdings.writable),
        first_id=holdings.ids.first if holdings.ids else 0,
        ids=holdings.ids.count if holdings.ids else None,
        mount_points=[
            *RESERVED,
            *holdings.etc,
            *(volume.target for volume in container.volumes),
            *(grant.target for grant in container.grants),
        ],
        volumes=[asdict(volume) for volume in container.volumes],
        process=_process(container),
    )


def _process(container: Container) -> ProcessFacts:
    return ProcessFacts(
        entrypoint=None if container.entrypoint is None else list(container.entrypoint),
        command=None if container.command is None else list(container.command),
        environment=dict(container.environment),
        user=container.user,
        working_dir=container.working_dir,
        stop_signal=container.stop.signal,
        labels=dict(container.labels),
        ports=[f"{port.container_port}/{port.protocol}" for port in container.ports],
    )
