"""The dependency graph: its order, and when a condition holds."""

from __future__ import annotations

import pytest
from hypothesis import given

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Condition, Fleet
from anchor_supervisor.supervision.order import Order, holds, present
from anchor_supervisor.supervision.states import HealthState, State
from playbook import fleet, service
from strategies import fleets


@given(fleet=fleets(most=6))
def test_dependencies_come_first(fleet: Fleet) -> None:
    """Every container is in the order once, after all that it depends on."""
    order = Order(fleet)
    assert sorted(order.containers) == sorted(fleet.containers)
    for name, container in fleet.containers.items():
        for other in container.depends_on:
            assert order.containers.index(other) < order.containers.index(name)
            assert name in order.dependents[other]


@pytest.mark.parametrize(
    ("needs", "match"),
    [({"a": "started"}, "a circle"), ({"nobody": "started"}, "unknown containers")],
)
def test_unchecked_fleets_are_our_bug(needs: dict[str, str], match: str) -> None:
    """A circle or an unknown name should have been refused with the file."""
    with pytest.raises(SupervisionBug, match=match):
        Order(fleet(service("a", needs)))


def test_conditions() -> None:
    """Each condition holds in exactly these states."""
    held = {
        condition: {
            (state, health)
            for state in State
            for health in HealthState
            if holds(condition, state, health)
        }
        for condition in Condition
    }
    assert held == {
        Condition.STARTED: {
            (state, health) for state in (State.RUNNING, State.COMPLETED) for health in HealthState
        },
        Condition.HEALTHY: {
            (State.RUNNING, health) for health in (HealthState.HEALTHY, HealthState.NONE)
        },
        Condition.COMPLETED: {(State.COMPLETED, health) for health in HealthState},
    }


@pytest.mark.parametrize(
    ("state", "health", "words"),
    [
        (State.STARTING, HealthState.NONE, "db is starting"),
        (State.RUNNING, HealthState.NONE, "db is running without a health check"),
        (State.RUNNING, HealthState.STARTING, "db is running, not yet healthy"),
        (State.RUNNING, HealthState.UNHEALTHY, "db is running, unhealthy"),
        (State.BACKOFF, HealthState.NONE, "db is between attempts"),
        (State.FAILED, HealthState.NONE, "db has failed"),
        (State.STOPPED, HealthState.NONE, "db is stopped"),
    ],
)
def test_present_state_in_words(state: State, health: HealthState, words: str) -> None:
    """The state of a dependency reads as a clause."""
    assert present("db", state, health) == words
