"""A supervisor over a machine that only pretends, and everything it commanded."""

from __future__ import annotations

from collections.abc import Callable

import trio

from anchor_supervisor.fleet.model import Fleet, InstanceId
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.terms import Outcome
from anchor_supervisor.supervision import commands
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import State
from fake_machine import FakeMachine, Script


class Story:
    """One supervisor over a fake machine, and all it commanded."""

    def __init__(self, fleet: Fleet, scripts: Callable[[InstanceId, int], Script]) -> None:
        self.machine = FakeMachine(scripts)
        self.commands: list[commands.Command] = []
        self.supervisor = Supervisor(Core(fleet), self.machine, self.commands.append)

    async def until(self, good: Callable[[], bool]) -> None:
        """Wait until it has come to that."""
        while not good():
            await self.supervisor.changed()

    def state(self, instance: InstanceId) -> State:
        """Where an instance is."""
        return self.supervisor.core.snapshot(instance).state

    def told(self, instance: InstanceId) -> list[tuple[State, str]]:
        """Every state that was reported of an instance, with its reason."""
        return [
            (one.state, one.reason)
            for one in self.commands
            if isinstance(one, commands.Report) and one.instance == instance
        ]

    async def play(self, *scenes: Callable[[], object]) -> Outcome:
        """Run until the fleet is done; each scene is an async function that plays beside it."""

        async def background(nursery: trio.Nursery) -> None:
            for scene in scenes:
                nursery.start_soon(scene)  # type: ignore[arg-type]

        return await self.supervisor.run(background)


def always(script: Script) -> Callable[[InstanceId, int], Script]:
    """The same script for everyone."""
    return lambda _instance, _number: script
