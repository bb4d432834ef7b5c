"""The transition table: complete, closed, and the only way a state changes."""

from __future__ import annotations

from itertools import product

import pytest

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.supervision.lifecycle import DOWN, HELD, TRANSITIONS, Trigger, after
from anchor_supervisor.supervision.states import State


def test_every_state_has_a_row_and_a_way_in() -> None:
    """Each state has its row; each but the first follows from another; each trigger is used."""
    assert set(TRANSITIONS) == set(State)
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(State)
    assert {trigger for row in TRANSITIONS.values() for trigger in row} == set(Trigger)


def test_every_start_passes_the_gates() -> None:
    """`starting` follows only from the states in which the gates are looked at."""
    sources = {state for state, row in TRANSITIONS.items() if State.STARTING in row.values()}
    assert sources == HELD
    assert all(
        trigger is Trigger.LAUNCH
        for row in TRANSITIONS.values()
        for trigger, state in row.items()
        if state is State.STARTING
    )


def test_what_is_down_stays_down() -> None:
    """From a state in which nothing runs, only being wanted again leads to a run."""
    for state in DOWN:
        assert set(TRANSITIONS[state].values()) <= {State.WAITING, State.STOPPED}


def test_stop_reaches_every_state() -> None:
    """Every state can be brought to `stopped`, but for jobs that are done."""
    for state in set(State) - {State.STOPPED, State.COMPLETED}:
        assert TRANSITIONS[state].keys() & {Trigger.STOP, Trigger.DOWN}


@pytest.mark.parametrize(
    ("state", "trigger"),
    [pair for pair in product(State, Trigger) if pair[1] not in TRANSITIONS[pair[0]]],
)
def test_missing_pairs_are_our_bug(state: State, trigger: Trigger) -> None:
    """A pair that the table does not have raises, naming both."""
    with pytest.raises(SupervisionBug, match=f"`{trigger}` in state `{state}`"):
        after(state, trigger)
