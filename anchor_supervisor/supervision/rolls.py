"""All updates of a fleet: which are under way, in which order, and what became of the last ones.

A container's update begins when those of everything it depends on have ended. If one of them did
not come to its end, the updates of what depends on it are not begun.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import final

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import Container, Fleet, InstanceId
from anchor_supervisor.supervision.commands import Command, Report, UpdateEnded, UpdateResult
from anchor_supervisor.supervision.members import Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.update import Roll, UpdateStatus
from anchor_supervisor.values import evolve


@final
class Rolls:
    """The latest update of each container, and what each is made of where none is under way."""

    def __init__(
        self,
        fleet: Fleet,
        members: Members,
        neighbours: Neighbours,
        emit: Callable[[Command], None],
    ) -> None:
        """Begin with no update."""
        self._members = members
        self._emit = emit
        self._neighbours = neighbours
        self._settled = dict(fleet.containers)
        self._latest: dict[str, Roll] = {}
        self._active: dict[str, Roll] = {}
        self._spoiled: dict[str, UpdateResult] = {}

    def statuses(self) -> Mapping[str, UpdateStatus]:
        """Return how far the latest update of each container has come."""
        return MappingProxyType({name: roll.status() for name, roll in self._latest.items()})

    def deadline(self) -> float | None:
        """When one of those under way wants to be looked at."""
        moments = (roll.deadline() for roll in self._active.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def busy(self) -> bool:
        """Whether an update is under way."""
        return bool(self._active)

    def hear(self, report: Report) -> None:
        """Let the update of its container note a report."""
        if roll := self._active.get(report.instance.container):
            roll.hear(report)

    def close(self, reason: str) -> None:
        """End every update where it is."""
        for name in [*self._active]:
            self._end(name, UpdateResult.PAUSED, reason)

    # A change of the fleet.

    def follow(self, fleet: Fleet, fresh: Collection[InstanceId], now: float) -> None:
        """Bring every container in line: at once where that can be, else by an update."""
        self._spoiled.clear()
        for name in [n for n in self._active if n not in fleet.containers]:
            self._end(name, UpdateResult.SUPERSEDED, "removed from the file")
        for books in (self._settled, self._latest):
            for name in [n for n in books if n not in fleet.containers]:
                del books[name]
        for container in fleet.containers.values():
            self._bring_in_line(container, fresh, now)

    def _bring_in_line(
        self, container: Container, fresh: Collection[InstanceId], now: float
    ) -> None:
        name, unproven = container.name, [i for i in fresh if i.container == container.name]
        under_way = self._active.get(name)
        if under_way is not None:
            if under_way.new == container and not under_way.going_back:
                return
            unproven += under_way.unproven()
            self._end(name, UpdateResult.SUPERSEDED, "the file has changed again")
        elif not self._needs_update(container):
            for member in self._members.replicas[name]:
                self._members.shapes.take_over(member, container, now)
            self._settled[name] = container
            if name in self._latest and self._latest[name].result is not UpdateResult.DONE:
                del self._latest[name]  # there is nothing left to be done about it
            return
        settled = self._settled.get(name, container)
        old = evolve(
            settled,
            replicas=container.replicas,
            depends_on=container.depends_on,
            on_restart=container.on_restart,
        )
        roll = self._latest[name] = self._active[name] = Roll(
            container, old, self._members, self._neighbours
        )
        roll.begin(unproven, now)

    def _needs_update(self, container: Container) -> bool:
        """Whether a replica must be replaced, or additional ones are left from an update."""
        effects = (
            effect_between(member.container, container)
            for member in self._members.replicas[container.name]
        )
        if container.name in self._members.extras:
            return True
        return max(effects, default=Effect.NOTHING) >= Effect.RESTART

    # Step by step.

    def fail(self, now: float) -> None:
        """Let every update follow the failures that it has heard of."""
        for name, roll in [*self._active.items()]:
            roll.fail(now)
            self._conclude(name, roll)

    def advance(self, now: float) -> None:
        """Bring every update as far as it can come now, dependencies first."""
        order = self._neighbours.order
        for name in order.containers if self._active else ():
            roll = self._active.get(name)
            if roll is None:
                continue
            self._hinder(roll)
            while roll.result is None and roll.advance(now, held=self._held(roll)):
                pass
            self._conclude(name, roll)

    def _held(self, roll: Roll) -> str | None:
        """Say which update must end before this one goes on; none holds up a way back."""
        beneath = self._neighbours.order.beneath(roll.new.name)
        below = next((name for name in beneath if name in self._active), None)
        return None if below is None or roll.going_back else f"waiting for the update of `{below}`"

    def _hinder(self, roll: Roll) -> None:
        """End an update that builds upon one that did not come to its end."""
        beneath = self._neighbours.order.beneath(roll.new.name)
        below = next((name for name in beneath if name in self._spoiled), None)
        if below is not None and not roll.going_back:
            reason = f"the update of `{below}` was {self._spoiled[below]}"
            roll.end(UpdateResult.PAUSED, reason)

    def _conclude(self, name: str, roll: Roll) -> None:
        """Write down what a container is made of now, and say how its update ended."""
        if roll.going_back and self._members.fleet.containers[name] is not roll.old:
            containers = {**self._members.fleet.containers, name: roll.old}
            self._members.fleet = evolve(self._members.fleet, containers=containers)
        if roll.result is not None:
            if roll.result is UpdateResult.DONE:
                self._settled[name] = roll.new
            self._end(name, roll.result, roll.reason)

    def _end(self, name: str, result: UpdateResult, reason: str) -> None:
        roll = self._active.pop(name)
        roll.end(result, reason)
        if result in {UpdateResult.PAUSED, UpdateResult.ROLLED_BACK}:
            self._spoiled[name] = result
        self._emit(UpdateEnded(name, result, reason))
