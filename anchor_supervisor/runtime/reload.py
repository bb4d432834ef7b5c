"""Another fleet under the same name, while this one runs: read, checked, and the machine readied.

Reading and checking is done in a worker thread and changes nothing. Afterwards it is seen to that
the machine lets go of what only the former fleet used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

import trio

from anchor_supervisor.control.handler import Wanted
from anchor_supervisor.errors import AnchorError, ControlError, FleetError, Problem
from anchor_supervisor.fleet import check
from anchor_supervisor.fleet.model import Fleet, InstanceId, LimitsMode, instances
from anchor_supervisor.fleet.parse import load_files
from anchor_supervisor.observability.log import log
from anchor_supervisor.runtime.completion import Complete, complete
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.states import Phase
from anchor_supervisor.values import define, evolve, field

OVER: Final = frozenset({Phase.STOPPING, Phase.DONE})


@final
@define(eq=False)
class HostReloader:
    """Implements `changing.Reloader` on this host.

    `changing` is told of each fleet before the core is. `limits`, where given, wins over the
    files' own.
    """

    supervisor: Supervisor
    machine: HostMachine
    changing: Callable[[Fleet], None]
    limits: LimitsMode | None = None
    _ready: dict[int, Complete] = field(factory=dict, init=False)
    _begun: trio.Event = field(factory=trio.Event, init=False)
    _pending: trio.Event | None = field(default=None, init=False)
    _turn: trio.Lock = field(factory=trio.Lock, init=False)  # the machine is changed by one alone

    @property
    def present(self) -> Fleet:
        """The fleet as it is to be, complete."""
        return self.supervisor.core.fleet

    async def prepare(self, wanted: Wanted) -> Fleet:
        """Load the files, complete the fleet and check it; what it needs is held until `abandon`.

        Raises FleetError or HostError with everything that is wrong; nothing is changed.
        """
        ready = await trio.to_thread.run_sync(self._read, wanted)
        return self._keep(ready)

    async def scaled(self, replicas: Mapping[str, int]) -> Fleet:
        """The present fleet with other numbers of replicas, checked as `prepare` does."""
        return self._keep(await trio.to_thread.run_sync(self._scaled, self.present, replicas))

    def abandon(self, fleet: Fleet) -> None:
        """Let go of what a fleet needs that was prepared and has not begun."""
        _close(self._ready.pop(id(fleet), None))

    async def begin(self, fleet: Fleet, begun: Callable[[], None]) -> None:
        """Make the machine ready and let the core begin; return once it has taken the change in.

        Raises AnchorError, and then nothing has changed. `begun` is called once it cannot fail any
        more, and before the core is told.
        """
        ready = self._ready.pop(id(fleet))
        try:
            async with self._turn:
                await trio.to_thread.run_sync(self.machine.reconfigure, ready)
        except BaseException:
            _close(ready)
            raise
        # From here to the order nothing waits: a thread that has begun is not cancelled, so what
        # the machine has been made ready for is told to the core in any case.
        for warning in ready.warnings:
            log.warning(warning)
        begun()
        self.changing(fleet)
        if self._pending is None:
            self._pending = trio.Event()
        self._begun.set()
        await self.supervisor.order(events.FleetChanged(fleet))

    async def tidy_up(self) -> None:
        """Let go, for ever, of what is not used any more once a change is through."""
        while True:
            await self._begun.wait()
            self._begun = trio.Event()
            await self.supervisor.order(events.Tick())  # which comes after what has begun
            while not self._is_through():
                await self.supervisor.changed()
            async with self._turn:
                if self._is_through():
                    await self._tidy()
                    pending, self._pending = self._pending, None
                    if pending is not None:
                        pending.set()

    async def tidied(self) -> None:
        """Return once what a change that has begun has left is let go."""
        if self._pending is not None:
            await self._pending.wait()

    def _is_through(self) -> bool:
        """Whether no update is under way, and nobody is leaving."""
        core = self.supervisor.core
        updating = any(update.active for update in core.updates.values())
        leaving = self._known_instances() - frozenset(instances(core.fleet))
        busy = updating or bool(leaving) or self.supervisor.acting
        return core.phase in OVER or not busy

    def _known_instances(self) -> frozenset[InstanceId]:
        return frozenset(status.instance for status in self.supervisor.core.statuses())

    async def _tidy(self) -> None:
        """Bring the machine in line with what has come of the change: it may have been undone."""
        if self.supervisor.core.phase in OVER:
            return
        try:
            if self.present is not self.machine.site.fleet:
                known = self._known(self.present)
                await trio.to_thread.run_sync(self.machine.reconfigure, known)
            in_use = self.machine.in_use(self._known_instances())
            await trio.to_thread.run_sync(self.machine.site.settle, in_use)
        except (AnchorError, OSError) as error:
            log.warning("not everything of the former fleet could be let go", why=str(error))
        except Exception:
            log.exception("bug")

    # What is done in a worker thread.

    def _read(self, wanted: Wanted) -> Complete:
        """Read and complete the fleet, and see that this machine can run it."""
        files = [Path(file) for file in wanted.files]
        fleet = load_files(files, wanted.environment, wanted.profiles)
        own = self.machine.site.fleet.name
        if fleet.name != own:
            message = f"the file is of fleet `{fleet.name}`, and this is `{own}`"
            hint = "a fleet keeps its name while it runs; `anchor up` starts another"
            raise FleetError([Problem(message, *fleet.place("fleet.name"), hint)])
        if self.limits is not None:
            fleet = evolve(fleet, limits=self.limits)
        return self._planned(complete(fleet))

    def _scaled(self, present: Fleet, replicas: Mapping[str, int]) -> Complete:
        containers = {
            name: evolve(one, replicas=replicas.get(name, one.replicas))
            for name, one in present.containers.items()
        }
        fleet = evolve(present, containers=containers)
        if wrong := check.problems(fleet):
            raise FleetError(wrong)
        return self._planned(self._known(fleet))

    def _known(self, fleet: Fleet) -> Complete:
        """A fleet of nothing but containers that are complete, whose images are held already."""
        known = self.machine.site.layers
        images = {container.image for container in fleet.containers.values()}
        return Complete(fleet, {image: known[image] for image in images})

    def _planned(self, ready: Complete) -> Complete:
        """See that its networks and ports can be had as well."""
        try:
            self.machine.site.planned(ready.fleet)
        except BaseException:
            _close(ready)
            raise
        return ready

    def _keep(self, ready: Complete) -> Fleet:
        self._ready[id(ready.fleet)] = ready
        return ready.fleet


def _close(ready: Complete | None) -> None:
    if ready is not None and ready.held is not None:
        ready.held.close()


def source_of(fleet: Fleet, environment: Mapping[str, str]) -> Wanted:
    """Where a fleet can be read from once more. Raises ControlError where no file describes it."""
    if not fleet.files:
        message = f"fleet `{fleet.name}` was read from no file, so it cannot be read again"
        raise ControlError(message)
    return Wanted(fleet.files, fleet.profiles, environment)
