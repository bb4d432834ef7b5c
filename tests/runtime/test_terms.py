"""What is told of a fleet's end."""

from __future__ import annotations

from anchor_supervisor.runtime.terms import Ending, Outcome
from anchor_supervisor.supervision.states import ExitStatus

DONE = Outcome(0, "done")


def test_an_ending_without_states_still_knows_the_exit() -> None:
    """What was over at once has no states; what never ran has no exit."""
    assert Ending(DONE, over_at_once=ExitStatus(7)).exit == ExitStatus(7)
    assert Ending(DONE).exit is None
    assert not Ending(DONE).gave_up
