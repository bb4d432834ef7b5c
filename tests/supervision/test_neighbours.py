"""Neighbours: gates and dependents as seen from one instance."""

from __future__ import annotations

from hypothesis import given

from anchor_supervisor.fleet.model import Fleet, instances
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.neighbours import Neighbours
from strategies import fleets


@given(fleet=fleets(most=6))
def test_dependents_mirror_dependencies(fleet: Fleet) -> None:
    """A sees B behind a gate exactly where B sees A among its dependents, replica by replica."""
    members = {
        identity: Instance(identity, fleet.containers[identity.container], lambda _: None)
        for identity in instances(fleet)
    }
    neighbours = Neighbours(fleet, members)
    assert set(neighbours.rising) == set(members.values())
    up = {(a.id, b.id) for a in members.values() for _, b in neighbours.dependencies(a)}
    down = {(a.id, b.id) for b in members.values() for a in neighbours.dependents(b)}
    assert up == down


@given(fleet=fleets(most=6))
def test_before_the_start(fleet: Fleet) -> None:
    """While everything waits, gates are open where nothing is needed, and none is stuck."""
    members = {
        identity: Instance(identity, fleet.containers[identity.container], lambda _: None)
        for identity in instances(fleet)
    }
    neighbours = Neighbours(fleet, members)
    for member in members.values():
        assert neighbours.gates_open(member) == (not member.container.depends_on)
        assert neighbours.dependents_down(member) == (not [*neighbours.dependents(member)])
    assert neighbours.stuck() == frozenset()
