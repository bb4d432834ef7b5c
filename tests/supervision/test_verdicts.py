"""Verdicts: ready, lost and over, in fleets that change. The rest is told in `test_core.py`."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import OnUpdateFailure, UpdatePolicy
from anchor_supervisor.fleet.schedule_model import Schedule
from anchor_supervisor.supervision.commands import FleetDone, FleetReady, Remove, Signal, Spawn
from anchor_supervisor.supervision.events import SpawnFailed
from anchor_supervisor.supervision.states import Phase, State
from playbook import NEVER, Playbook, anew, job, service, the


def test_ready_because_of_a_change() -> None:
    """A fleet that could not become ready does when the file lets go of what was missing."""
    play = Playbook(service("web"), service("db", restart=NEVER))
    play.start()
    play.tell(SpawnFailed(the("db"), "not there", permanent=True))
    assert FleetReady() not in play.up("web")
    assert play.change(service("web")) == [FleetReady(), Remove(the("db"))]


def test_essential_that_is_rolled_back_ends_nothing() -> None:
    """An essential container that fails as the new kind has the old one to go back to."""
    db = evolve(
        service("db", essential=True), update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK)
    )
    play = Playbook(db)
    play.start_all()
    play.change(anew(db))
    play.exits("db", 0)
    assert Spawn(the("db"), 1) in play.tell(SpawnFailed(the("db"), "no room", permanent=True))
    assert play.core.phase is Phase.UP


def test_essential_by_the_new_file() -> None:
    """Whether the fleet can be without it, the file says as it is now."""
    play = Playbook(service("db", essential=True, restart=NEVER), service("web"))
    play.start_all()
    play.change(service("db", restart=NEVER), service("web"))
    play.exits("db", 1)
    assert play.state("web") is State.RUNNING
    again = play.change(service("db", essential=True, restart=NEVER), service("web"))
    assert again[-1] == Signal(the("web"), "TERM")


def test_scheduled_jobs_do_not_end_the_fleet() -> None:
    """A fleet of jobs goes on while one of them has a schedule."""
    load = evolve(job("load"), schedule=Schedule(every=60.0))
    play = Playbook(load)
    play.start_all()
    assert play.exits("load", 0) == []
    assert play.state("load") is State.COMPLETED
    assert play.change(job("load"))[-1] == FleetDone(0, "all jobs have finished")
