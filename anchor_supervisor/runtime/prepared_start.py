"""The steps of a container's starts, written and encoded once for all its instances and runs.

They differ in descriptors, which are given to the child by their places; in the host name and the
environment, whose two steps each start has of its own; and in hardly anything else.
"""

from __future__ import annotations

from typing import final

from anchor_supervisor.fleet.model import EMPTY
from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.spawn import Prepared, prepare
from anchor_supervisor.kernel.steps import Descriptor, Handover, SetHostname
from anchor_supervisor.rootfs.plan import View, root_steps
from anchor_supervisor.runtime.recipe import (
    Joined,
    Powers,
    Process,
    container_steps,
    execute_step,
)
from anchor_supervisor.values import define, evolve, field, frozen


@final
@frozen
class Start:
    """All that the steps of a start are made of, but for the host name.

    `init`, `stay` and `status` are as in `Execute`.
    """

    powers: Powers
    sandbox: Joined
    view: View
    process: Process
    init: int
    stay: bool
    status: Descriptor

    def prepare(self, hostname: str) -> Prepared:
        """Write the steps, and encode them. Raises FleetError for what a container may not have."""
        return prepare(
            container_steps(
                self.powers,
                hostname,
                self.sandbox,
                root_steps(self.view),
                self.process,
                init=self.init,
                stay=self.stay,
                status=self.status,
            )
        )


@final
@define(eq=False)
class PreparedStarts:
    """The steps of each container's last start. May be used by several threads.

    No environment stays here: there may be secrets in it.
    """

    _last: dict[str, tuple[Start, Prepared]] = field(factory=dict, init=False)

    def take(self, container: str, start: Start, hostname: str) -> Prepared:
        """Give the steps of this start. Raises FleetError as `Start.prepare`."""
        common = evolve(start, process=evolve(start.process, environment=EMPTY))
        last = self._last.get(container)
        if last is None or last[0] != common:
            last = self._last[container] = common, common.prepare(hostname)
        steps = last[1].steps
        named = next(place for place, step in enumerate(steps) if isinstance(step, SetHostname))
        execute = execute_step(
            start.process, start.init, stay=start.stay, status=start.status if start.stay else None
        )
        return last[1].exchanged([named, len(steps) - 1], [SetHostname(hostname), execute])


def handed_over(sandbox: Sandbox, handover: Handover) -> Joined:
    """Give the child the namespaces that it is to join."""
    return Joined(
        None if sandbox.user is None else handover.add(sandbox.user),
        None if sandbox.net is None else handover.add(sandbox.net),
        handover.add(sandbox.ipc),
        handover.add(sandbox.uts),
    )
