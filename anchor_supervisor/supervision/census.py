"""How many instances are in which state, without asking each of them at every event."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.supervision.states import State


@final
class Census:
    """The state of every instance, as it was last reported, and how many are in each."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._states: dict[InstanceId, State] = {}
        self._counts = dict.fromkeys(State, 0)

    def note(self, identity: InstanceId, state: State) -> None:
        """Take in an instance that is new, or has come to another state."""
        before = self._states.get(identity)
        if before is state:
            return
        if before is not None:
            self._counts[before] -= 1
        self._states[identity] = state
        self._counts[state] += 1

    def forget(self, identity: InstanceId) -> None:
        """Drop an instance that is no more."""
        self._counts[self._states.pop(identity)] -= 1

    def any_in(self, states: Collection[State]) -> bool:
        """Whether some instance is in one of these states."""
        return any(self._counts[state] for state in states)

    def all_in(self, states: Collection[State]) -> bool:
        """Whether every instance is in one of these states."""
        return sum(self._counts[state] for state in states) == len(self._states)
