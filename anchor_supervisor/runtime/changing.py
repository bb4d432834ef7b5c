"""An operator's change of a running fleet: from what is wanted to the end of the last update.

One change at a time is made ready and begun. Once begun it is the core's business: whoever asked
only watches, and may leave.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast, final

import trio

from anchor_supervisor.control.handler import Wanted
from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.control.shapes import ApplyLine, ApplyResult, JournalEntry, Plan
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.observability.journal import JournalCursor, concerns
from anchor_supervisor.runtime.plan_view import as_it_runs, plan_view, update_row
from anchor_supervisor.runtime.settling import (
    Change,
    Present,
    concerned_updates,
    failures,
    settled,
)
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.values import define, field


class Reloader(Protocol):
    """Reads fleets and makes the machine ready for them; implemented by `runtime.reload`."""

    @property
    def present(self) -> Fleet:
        """The fleet that runs, complete."""
        ...

    async def prepare(self, wanted: Wanted) -> Fleet:
        """Load the files, complete the fleet and check it. Raises AnchorError; changes nothing."""
        ...

    async def scaled(self, replicas: Mapping[str, int]) -> Fleet:
        """The present fleet with other numbers of replicas, checked as `prepare` does."""
        ...

    def abandon(self, fleet: Fleet) -> None:
        """Let go of what a fleet needs that was prepared and is not to begin."""
        ...

    async def begin(self, fleet: Fleet, begun: Callable[[], None]) -> None:
        """Make the machine ready and let the core begin; return once it has taken the change in.

        Raises AnchorError, and then nothing has changed. Whoever asked may hang up: it is done
        whole, or not at all. `begun` is called just before the core is told.
        """
        ...


Prepare = Callable[[], Awaitable[Fleet]]


@final
@define(eq=False)
class Changes:
    """Plans changes, begins them and watches them. `journal` is the fleet's log directory."""

    supervisor: Supervisor
    reloader: Reloader
    journal: Path
    _turn: trio.Lock = field(factory=trio.Lock, init=False)
    _latest: Change | None = field(default=None, init=False)

    async def plan(self, wanted: Wanted) -> Plan:
        """Say what an apply of this would do."""
        fleet = await self.reloader.prepare(wanted)
        self.reloader.abandon(fleet)
        return self._plan(fleet)

    async def begin(self, prepare: Prepare) -> Change:
        """Make a change ready and begin it. Raises AnchorError, and then nothing has changed."""
        async with self._turn:
            fleet = await prepare()
            if self.supervisor.core.phase is not Phase.UP:
                self.reloader.abandon(fleet)
                message = "nothing can be changed: the fleet is stopping"
                raise Refused(message)
            plan = self._plan(fleet)
            statuses = self.supervisor.core.statuses()
            down = frozenset(one.instance for one in statuses if one.state is State.STOPPED)
            change = Change(fleet, plan, down)

            def begun() -> None:
                self.supervisor.troubles.clear()
                self._latest = change

            await self.reloader.begin(fleet, begun)
            return change

    async def apply(self, prepare: Prepare) -> AsyncGenerator[ApplyLine, None]:
        """Begin a change and tell of it, to its end."""
        self.supervisor.settle()
        with JournalCursor(self.journal, at_end=True) as cursor:
            change = await self.begin(prepare)
            yield ApplyLine(plan=change.plan)  # noqa: ASYNC119 - the server closes it
            names = frozenset(one["container"] for one in change.plan["containers"])
            while True:
                told = False
                self.supervisor.settle()
                for entry in _news(cursor, names):
                    told = True
                    yield ApplyLine(entry=entry)  # noqa: ASYNC119 - as above
                if told:
                    continue  # more may have happened while the reader took these
                if self.is_over(change):
                    break
                await self.supervisor.changed()
            yield ApplyLine(result=self._result(change))  # noqa: ASYNC119 - as above

    def _plan(self, fleet: Fleet) -> Plan:
        core = self.supervisor.core
        made_of = {one.instance: core.made_of(one.instance) for one in core.statuses()}
        return plan_view(as_it_runs(self.reloader.present, made_of, fleet), fleet)

    def is_over(self, change: Change) -> bool:
        """Whether nothing more will come of a change, for better or worse."""
        if self._latest is not change or self.supervisor.core.phase is not Phase.UP:
            return True
        return settled(change, self._present())

    def _result(self, change: Change) -> ApplyResult:
        present = self._present()
        if self._latest is not change:
            failed = ["a later change has taken its place"]
        elif self.supervisor.core.phase is not Phase.UP:
            failed = ["the fleet is stopping"]
        else:
            failed = failures(change, present)
        updates = concerned_updates(change, present)
        return ApplyResult(plan=change.plan, updates=updates, failed=failed, ok=not failed)

    def _present(self) -> Present:
        core = self.supervisor.core
        statuses = {one.instance: one for one in core.statuses()}
        return Present(
            statuses,
            {name: update_row(one) for name, one in core.updates.items()},
            self.supervisor.acting,
            self.supervisor.troubles,
        )


def _news(cursor: JournalCursor, names: frozenset[str]) -> Iterator[JournalEntry]:
    """What has been written since the last look and is about these containers."""
    while names and (entries := cursor.read_some()) is not None:
        yield from cast("list[JournalEntry]", [one for one in entries if concerns(one, names)])
