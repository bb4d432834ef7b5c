"""What a runtime has of each instance, as far as a supervision core can tell."""

from __future__ import annotations

from typing import final

from attrs import define

from anchor_supervisor.fleet.model import Condition, Container
from anchor_supervisor.supervision.states import HealthState, State


@final
@define
class Place:
    """What the runtime has of one instance, and what that amounts to.

    `told` is what the runtime heard last, `ran_as` what the last run was started with, and `made`
    what it is made of by now: some changes are taken over in silence.
    """

    told: Container
    made: Container
    fresh: bool
    state: State = State.WAITING
    health: HealthState = HealthState.NONE
    ran_as: Container | None = None
    spawning: bool = False
    pid: int | None = None
    started_at: float = 0.0
    probe: int | None = None
    asked: bool = False
    killed: bool = False
    commanded: bool = False

    @property
    def up(self) -> bool:
        """Whether anything of it runs, or is about to."""
        return self.spawning or self.pid is not None


def new_place(container: Container) -> Place:
    """Return the place of an instance that has just been announced."""
    return Place(container, container, fresh=True)


def satisfies(condition: Condition, place: Place) -> bool:
    """Whether an instance is what a dependent asks it to be."""
    match condition:
        case Condition.STARTED:
            return place.state in {State.RUNNING, State.COMPLETED}
        case Condition.HEALTHY:
            well = {HealthState.HEALTHY, HealthState.NONE}
            return place.state is State.RUNNING and place.health in well
        case Condition.COMPLETED:
            return place.state is State.COMPLETED
