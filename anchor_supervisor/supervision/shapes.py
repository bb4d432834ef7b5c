"""What each instance is made of, and what it is to be made of from its next start on.

`Instance.container` is what it is made of. Its goal is what it should be; while the two differ in
what needs a new run, an update is under way or has been left half done. A third value is what the
runtime was told last: it is told again before the next start where it has fallen behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import Container, InstanceId
from anchor_supervisor.supervision.commands import Command, Refresh, Reshape
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.states import State


@final
class Shapes:
    """The goals of all instances, and the commands that lead there."""

    def __init__(self, emit: Callable[[Command], None]) -> None:
        """Begin with no instance."""
        self._emit = emit
        self._goals: dict[InstanceId, Container] = {}
        self._told: dict[InstanceId, Container] = {}
        self._due: dict[InstanceId, str | None] = {}
        self._fresh: set[InstanceId] = set()

    def begin(self, member: Instance) -> None:
        """Take in an instance of the first fleet: the runtime made its places for it."""
        self._goals[member.id] = self._told[member.id] = member.container

    def add(self, member: Instance) -> None:
        """Take in an instance that the runtime has yet to hear of."""
        self.begin(member)
        self._fresh.add(member.id)
        self._emit(Reshape(member.id, member.container, fresh=True))

    def forget(self, identity: InstanceId) -> None:
        """Drop an instance that is no longer in the fleet."""
        del self._goals[identity], self._told[identity]
        self._due.pop(identity, None)
        self._fresh.discard(identity)

    def launched(self, identity: InstanceId) -> None:
        """Note that a start goes out, which takes anew what is to be taken anew."""
        self._fresh.discard(identity)

    def goal(self, member: Instance) -> Container:
        """Return what the instance is to be made of."""
        return self._goals[member.id]

    def aim(self, member: Instance, container: Container) -> None:
        """Set what the instance is to be made of from its next start on."""
        self._goals[member.id] = container

    def reached(self, member: Instance) -> bool:
        """Whether the instance is made of what it should be."""
        return member.container == self._goals[member.id]

    def take_over(self, member: Instance, container: Container, now: float) -> None:
        """Let an instance be of `container` where that needs no new run of it."""
        effect = effect_between(member.container, container)
        self._goals[member.id] = container
        if _down(member):
            self.mould(member, now)
            return
        if member.container == container:
            return
        member.adopt(container, now)
        if effect is Effect.NOTHING:
            return
        signal = container.on_change.signal if effect is Effect.SIGNAL else None
        if member.state is State.RUNNING:
            self._refresh(member, signal)
        elif member.state is State.STARTING:  # its start may be past the point where it would see
            self._due[member.id] = signal or self._due.get(member.id)

    def mould(self, member: Instance, now: float) -> None:
        """Make an instance of which nothing runs into what it should be, from its next start on."""
        goal = self._goals[member.id]
        if not _down(member):
            return
        if member.container is not goal and member.container != goal:
            if effect_between(member.container, goal) is Effect.RECREATE:
                self._fresh.add(member.id)
            member.adopt(goal, now)
        told = self._told[member.id]
        if told is not goal and told != goal:
            self._told[member.id] = goal
            self._emit(Reshape(member.id, goal, member.id in self._fresh))

    def catch_up(self, member: Instance) -> None:
        """Bring a start under way, now that it is over, what changed in its course."""
        if member.id in self._due and member.state is not State.STARTING:
            signal = self._due.pop(member.id)
            if member.state is State.RUNNING:
                self._refresh(member, signal)

    def _refresh(self, member: Instance, signal: str | None) -> None:
        self._told[member.id] = member.container
        self._emit(Refresh(member.id, member.container, signal))


def _down(member: Instance) -> bool:
    return member.life.pid is None and not member.life.spawning
