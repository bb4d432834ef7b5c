"""A real fleet under its loop, in the test's own process, that can be changed while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

import trio
from attrs import Factory, define

from anchor_supervisor.control.handler import Wanted
from anchor_supervisor.fleet.model import Fleet, InstanceId
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.changing import Changes
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.reload import HostReloader
from anchor_supervisor.runtime.settling import Change
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.terms import Outcome
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.supervision.status import Status
from real_fleet import Workshop
from waiting import DEADLINE

LONG: Final = 3 * DEADLINE
"""Seconds for what takes several starts and stops."""


@final
@define(eq=False)
class Live:
    """The fleet under test, and what its core has said. `changed` is each fleet it was told of."""

    workshop: Workshop
    site: Site
    said: list[commands.Command] = Factory(list)
    changed: list[Fleet] = Factory(list)
    machine: HostMachine = Factory(
        lambda self: HostMachine(self.site, lambda *_: None), takes_self=True
    )
    supervisor: Supervisor = Factory(
        lambda self: Supervisor(Core(self.site.fleet), self.machine, self.said.append),
        takes_self=True,
    )
    reloader: HostReloader = Factory(
        lambda self: HostReloader(self.supervisor, self.machine, self.changed.append),
        takes_self=True,
    )
    changes: Changes = Factory(
        lambda self: Changes(
            self.supervisor, self.reloader, places.fleet_log_dir(self.site.fleet.name)
        ),
        takes_self=True,
    )

    def status(self, name: str) -> Status:
        """What is known of `web.1`."""
        return self.supervisor.core.snapshot(name)

    def pid(self, name: str) -> int:
        """The main process of an instance that runs."""
        status = self.status(name)
        assert status.state is State.RUNNING, status
        assert status.pid is not None
        return status.pid

    def names(self) -> list[str]:
        """Every instance there is."""
        return [str(status.instance) for status in self.supervisor.core.statuses()]

    async def until(self, name: str, *states: State) -> Status:
        """Wait until an instance is in one of these states."""
        with trio.fail_after(LONG):
            while self.status(name).state not in states:
                await self.supervisor.changed()
        return self.status(name)

    async def until_healthy(self, name: str) -> None:
        """Wait until an instance is healthy."""
        with trio.fail_after(LONG):
            while self.status(name).health is not HealthState.HEALTHY:
                await self.supervisor.changed()

    async def until_running(self) -> None:
        """Wait until everything runs."""
        with trio.fail_after(LONG):
            while any(s.state is not State.RUNNING for s in self.supervisor.core.statuses()):
                await self.supervisor.changed()

    async def begin(self, *lines: str) -> Change:
        """Write these lines to the fleet's file, and begin what follows."""
        written = self.workshop.write(*lines, name=self.site.fleet.name)
        wanted = Wanted((str(written),), (), {})
        return await self.changes.begin(lambda: self.reloader.prepare(wanted))

    async def through(self, change: Change) -> None:
        """Wait until a change is through, and the machine has let go of what it replaced."""
        with trio.fail_after(LONG):
            while not self.changes.is_over(change):
                await self.supervisor.changed()
            await self.reloader.tidied()

    async def apply(self, *lines: str) -> Change:
        """Write these lines to the fleet's file, and see them through."""
        change = await self.begin(*lines)
        await self.through(change)
        return change

    async def scale(self, **replicas: int) -> Change:
        """Scale, and see it through."""
        change = await self.changes.begin(lambda: self.reloader.scaled(replicas))
        await self.through(change)
        return change

    def holds(self, name: str) -> bool:
        """Whether this host holds something for an instance."""
        container, _, replica = name.partition(".")
        return self.machine.holdings(InstanceId(container, int(replica))) is not None


@asynccontextmanager
async def live(workshop: Workshop, *lines: str, name: str = "shop") -> AsyncIterator[Live]:
    """Bring the fleet of a file of these lines up; it is killed and given back at the end."""
    with workshop.site(workshop.file(*lines, name=name)) as site:
        fleet = Live(workshop, site)
        outcomes: list[Outcome] = []
        try:
            async with trio.open_nursery() as nursery:

                async def background(inner: trio.Nursery) -> None:
                    fleet.machine.attach(inner)
                    inner.start_soon(fleet.reloader.tidy_up)

                async def run() -> None:
                    outcomes.append(await fleet.supervisor.run(background))

                nursery.start_soon(run)
                await fleet.until_running()
                yield fleet
                fleet.supervisor.post(events.FleetKillRequested())
            assert len(outcomes) == 1
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(fleet.machine.release)
