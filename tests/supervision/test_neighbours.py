"""Neighbours: gates and dependents as seen from one instance."""

from __future__ import annotations

from hypothesis import given

from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.members import Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.order import Order
from strategies import fleets


def _laid(fleet: Fleet) -> tuple[Neighbours, list[Instance]]:
    members = Members(fleet, lambda _: None)
    return Neighbours(Order(fleet), members), [*members]


@given(fleet=fleets(most=6))
def test_dependents_mirror_dependencies(fleet: Fleet) -> None:
    """A sees B behind a gate exactly where B sees A among its dependents, replica by replica."""
    neighbours, members = _laid(fleet)
    assert set(neighbours.rising) == set(members)
    up = {(a.id, b.id) for a in members for _, b in neighbours.dependencies(a)}
    down = {(a.id, b.id) for b in members for a in neighbours.dependents(b)}
    assert up == down


@given(fleet=fleets(most=6))
def test_before_the_start(fleet: Fleet) -> None:
    """While everything waits, gates are open where nothing is needed, and none is stuck."""
    neighbours, members = _laid(fleet)
    for member in members:
        assert neighbours.gates_open(member) == (not member.container.depends_on)
        assert neighbours.dependents_down(member) == (not [*neighbours.dependents(member)])
    assert neighbours.stuck() == frozenset()
