"""The core and a plain second supervisor are told the same story, and must agree at every step."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis.stateful import initialize

from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.supervision.commands import Command, RunProbe
from anchor_supervisor.supervision.events import Event
from anchor_supervisor.supervision.states import Phase
from changing_fleet import ChangingFleet
from changing_world import ChangingWorld
from fleet_edits import fleets
from reference import Reference


class Comparison(ChangingWorld):
    """A world that tells everything to both, and compares them after each step."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin with both of them idle."""
        super().__init__(fleet)
        self.reference = Reference(fleet)

    def tell(self, event: Event) -> list[Command]:
        """Tell both; what the core asks, the reference is told."""
        commands = super().tell(event)
        self.reference.hear(event, self.now)
        for command in commands:
            if isinstance(command, RunProbe):
                self.reference.asked(command.instance, self.now)
        self.compare()
        return commands

    def compare(self) -> None:
        """Both say the same of every instance, and of every update."""
        told = {
            status.instance: (
                status.state,
                status.health,
                status.pid,
                self.core.made_of(status.instance),
            )
            for status in self.core.statuses()
        }
        assert told == self.reference.account()
        assert (self.core.phase is Phase.DONE) == (self.reference.phase == "done")
        theirs = {n: u.result or None for n, u in self.reference.updates.items()}
        for name, update in self.core.updates.items():
            assert update.result == theirs[name]


class ComparedFleet(ChangingFleet):
    """The same that may happen to any fleet that changes, with the two side by side."""

    plain = True

    @initialize(fleet=fleets(most=5, plain=True) | fleets(plain=True))
    def begin(self, fleet: Fleet) -> None:
        """Draw a fleet, and start it."""
        self.enter(Comparison(fleet))


PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
TestComparedFleet = ComparedFleet.TestCase
TestComparedFleet.settings = settings(
    PROFILE, max_examples=PROFILE.max_examples // 2, stateful_step_count=40
)
