"""A fleet over a fake machine that is changed while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import final

import trio
from attrs import evolve

from anchor_supervisor.control.handler import Wanted
from anchor_supervisor.control.shapes import ApplyLine, ApplyResult, Plan
from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    Image,
    ImageKind,
    InstanceId,
    RestartPolicy,
    RestartWhen,
)
from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.runtime.changing import Changes
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus
from fake_machine import FakeMachine, Script

HOST = Image(ImageKind.HOST, "host")
FALLS = Script(lasts=0.1, ends=ExitStatus(code=1))
NEVER = RestartPolicy(when=RestartWhen.NO)
NEWS = Wanted(("/shop.toml",))


def service(name: str, version: str = "1", **facts: object) -> Container:
    """A container whose command says which version it is."""
    return Container(name, HOST, command=("serve", version), **facts)  # type: ignore[arg-type]


def fleet(*containers: Container, **facts: object) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in containers}, {}, **facts)  # type: ignore[arg-type]


@final
class Shop:
    """A fleet over a fake machine, and whoever changes it. `next` is what its file says now."""

    def __init__(
        self, journal: Path, first: Fleet, bad: Mapping[str, Script] | None = None
    ) -> None:
        self.bad = dict(bad or {})
        self.machine = FakeMachine(self._script)
        self.log = EventLog(Journal(journal))
        self.supervisor = Supervisor(Core(first), self.machine, self._observe)
        self.changes = Changes(self.supervisor, self, journal)
        self.next: Fleet | FleetError = first
        self.begun = 0
        self.busy = 0.0

    # What the real one does with files and with the machine.

    @property
    def present(self) -> Fleet:
        """The fleet as the core has it."""
        return self.supervisor.core.fleet

    async def prepare(self, wanted: Wanted) -> Fleet:
        """What the file says now."""
        await trio.lowlevel.checkpoint()
        if isinstance(self.next, FleetError):
            raise self.next
        return self.next

    async def scaled(self, replicas: Mapping[str, int]) -> Fleet:
        """The present one with other numbers."""
        await trio.lowlevel.checkpoint()
        containers = {
            name: evolve(one, replicas=replicas.get(name, one.replicas))
            for name, one in self.present.containers.items()
        }
        return evolve(self.present, containers=containers)

    def abandon(self, fleet: Fleet) -> None:
        """Nothing is held."""

    async def begin(self, fleet: Fleet, begun: Callable[[], None]) -> None:
        """Tell the core, after a while."""
        await trio.sleep(self.busy)  # the machine is being tidied up
        self.begun += 1
        with trio.CancelScope(shield=True):  # whole, or not at all
            await trio.sleep(0.5)
            begun()
            await self.supervisor.order(events.FleetChanged(fleet))

    # What happens.

    def _script(self, instance: InstanceId, number: int) -> Script:
        made = self.machine.made_of.get(instance)
        version = made.command[1] if made is not None and made.command else "1"
        return self.bad.get(f"{instance.container} {version}", Script())

    def _observe(self, command: commands.Command) -> None:
        if isinstance(command, commands.Report):
            name = str(command.instance)
            self.log.add("transition", container=name, state=command.state.value)
        elif isinstance(command, commands.UpdateEnded):
            self.log.add("update", container=command.container, result=command.result.value)

    def pids(self) -> dict[str, int | None]:
        """Who runs, and as what."""
        return {str(one.instance): one.pid for one in self.supervisor.core.statuses()}

    async def play(self, operator: Callable[[], Awaitable[None]]) -> None:
        """Let an operator do his things once everything is up; then the fleet is killed."""

        async def then_end() -> None:
            while not all(one.pid for one in self.supervisor.core.statuses()):
                await self.supervisor.changed()
            try:
                await operator()
            finally:
                self.supervisor.post(events.FleetKillRequested())

        async def background(nursery: trio.Nursery) -> None:
            nursery.start_soon(then_end)

        await self.supervisor.run(background)

    async def apply(self, wanted: Fleet) -> tuple[Plan, list[str], ApplyResult]:
        """Apply, to the end: the plan, what happened in words, the result."""
        self.next = wanted
        lines = [one async for one in self.changes.apply(lambda: self.prepare(NEWS))]
        return told(lines)


def told(lines: list[ApplyLine]) -> tuple[Plan, list[str], ApplyResult]:
    """Take the lines apart, which come in their order."""
    first, *middle, last = lines
    words = [
        " ".join(str(word) for key, word in one["entry"].items() if key not in {"time", "event"})
        for one in middle
    ]
    return first["plan"], words, last["result"]
