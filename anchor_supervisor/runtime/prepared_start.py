"""The steps of a container's starts, written and encoded once for all its instances and runs.

They differ in descriptors, which are given to the child by their places; in the host name and the
environment, whose two steps each start has of its own; and in hardly anything else.
"""

from __future__ import annotations

import weakref
from typing import final

from anchor_supervisor.fleet.effects import asks_for_notices
from anchor_supervisor.fleet.model import EMPTY, Container, RootStrategy
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.spawn import Prepared, prepare
from anchor_supervisor.kernel.steps import Descriptor, SetHostname
from anchor_supervisor.rootfs.plan import View, root_steps
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime.recipe import (
    Joined,
    Process,
    container_powers,
    container_steps,
    execute_step,
)
from anchor_supervisor.values import define, evolve, field, frozen


@final
@frozen
class Start:
    """What the steps of a start are made of besides the container, its process and its host name.

    `init` and `status` are as in `Execute`.
    """

    sandbox: Joined
    view: View
    init: int
    status: Descriptor

    def prepare(self, container: Container, process: Process, hostname: str) -> Prepared:
        """Write the steps, and encode them. Raises FleetError for what a container may not have."""
        return prepare(
            container_steps(
                container_powers(container),
                hostname,
                self.sandbox,
                root_steps(self.view),
                process,
                init=self.init,
                stay=container.init,
                status=self.status,
            )
        )


@final
@frozen(eq=False)
class _Kept:
    """The steps of a container's last start, but for its environment; `made_of` all else."""

    container: weakref.ref[Container]
    made_of: tuple[object, ...]
    prepared: Prepared
    named: int  # the place of SetHostname


@final
@define(eq=False)
class PreparedStarts:
    """The steps of each container's last start. May be used by several threads.

    No environment stays here, nor a container that has one: there may be secrets in it.
    """

    _last: dict[str, _Kept] = field(factory=dict, init=False)

    def take(self, container: Container, start: Start, process: Process, hostname: str) -> Prepared:
        """Give the steps of this start. Raises FleetError as `Start.prepare`."""
        ids = process.uid, process.gid, process.groups
        made_of = start, ids, process.stdio, process.terminal
        kept = self._last.get(container.name)
        if kept is None or kept.container() is not container or kept.made_of != made_of:
            without = evolve(process, environment=EMPTY)
            prepared = start.prepare(container, without, hostname)
            kinds = [type(step) for step in prepared.steps]
            kept = _Kept(weakref.ref(container), made_of, prepared, kinds.index(SetHostname))
            self._last[container.name] = kept
        stays = start.status if container.init else None
        execute = execute_step(process, start.init, stay=container.init, status=stays)
        return kept.prepared.exchanged((kept.named, -1), (SetHostname(hostname), execute))


@final
@frozen(eq=False)
class Decided:
    """All of a start that the next one of the instance has in common with it, but for the root.

    `root` and `status` are their places.
    """

    container: Container
    credentials: Credentials
    root: Given
    process: Process
    handover: Handover
    status: Given
    prepared: Prepared

    def suits(self, container: Container, credentials: Credentials) -> bool:
        """Whether a start of this container, by this user, is made of the same."""
        return self.container is container and self.credentials == credentials

    @property
    def lasts(self) -> bool:
        """Whether it can be so again: what else may be mounted is looked at anew each time."""
        made_of = self.container
        more = made_of.volumes or made_of.grants or asks_for_notices(made_of)
        return not more and made_of.root is RootStrategy.OVERLAY


def handed_over(sandbox: Sandbox, handover: Handover) -> Joined:
    """Give the child the namespaces that it is to join."""
    return Joined(
        None if sandbox.user is None else handover.add(sandbox.user),
        None if sandbox.net is None else handover.add(sandbox.net),
        handover.add(sandbox.ipc),
        handover.add(sandbox.uts),
    )
