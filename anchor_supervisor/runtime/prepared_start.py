"""The steps of an instance's start, kept for the next one: most starts differ in descriptors alone.

Those are given to the child by their places, so the same steps, written and encoded once, serve.
"""

from __future__ import annotations

from typing import final

from attrs import field

from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.spawn import Prepared, prepare
from anchor_supervisor.kernel.steps import Descriptor
from anchor_supervisor.rootfs.plan import View, root_steps
from anchor_supervisor.runtime.recipe import Powers, Process, container_steps
from anchor_supervisor.values import define, frozen


@final
@frozen
class Start:
    """All that the steps of a start are made of: two that are equal have the same ones.

    `init`, `stay` and `status` are as in `Execute`.
    """

    powers: Powers
    hostname: str
    sandbox: Sandbox
    view: View
    process: Process
    init: int
    stay: bool
    status: Descriptor

    def prepare(self) -> Prepared:
        """Write the steps, and encode them. Raises FleetError for what a container may not have."""
        return prepare(
            container_steps(
                self.powers,
                self.hostname,
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
class PreparedStart:
    """The last start's steps."""

    _last: tuple[Start, Prepared] | None = field(default=None, init=False)

    def take(self, start: Start) -> Prepared:
        """Give the steps of this start: the last one's where it was equal. Raises FleetError."""
        last = self._last
        if last is None or last[0] != start:
            last = self._last = start, start.prepare()
        return last[1]
