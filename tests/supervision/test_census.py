"""Census: counts that agree with what the instances say of themselves."""

from __future__ import annotations

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.supervision.census import Census
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.states import State

ONE, TWO = InstanceId("web", 1), InstanceId("web", 2)


def test_everybody_is_counted_once_where_they_are_now() -> None:
    """A report moves an instance, however often it is told; one that has gone counts no more."""
    census = Census()
    census.note(ONE, State.WAITING)
    census.note(TWO, State.WAITING)
    census.note(ONE, State.STOPPED)
    census.note(ONE, State.STOPPED)
    assert census.any_in(DOWN)
    assert not census.all_in(DOWN)
    assert census.all_in({State.STOPPED, State.WAITING})
    census.forget(TWO)
    assert census.all_in(DOWN)
    assert not census.any_in({State.WAITING})


def test_nobody_is_wherever_you_like() -> None:
    """Of no instance at all everything is true, and nothing of some."""
    assert Census().all_in(())
    assert not Census().any_in([*State])
