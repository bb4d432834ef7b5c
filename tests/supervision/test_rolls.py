"""The updates of a whole fleet: which waits for which, and what is above a failure."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Limits,
    OnUpdateFailure,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.supervision.commands import (
    Refresh,
    Remove,
    Reshape,
    Signal,
    Spawn,
    UpdateEnded,
    UpdateResult,
)
from anchor_supervisor.supervision.events import FleetStartRequested, SpawnFailed
from anchor_supervisor.supervision.states import State
from playbook import Playbook, anew, begun, fleet, service, the

DB, API, WEB = the("db"), the("api"), the("web")
ONE, TWO, THREE = (the(f"web.{number}") for number in (1, 2, 3))
DONE = UpdateEnded("web", UpdateResult.DONE, "every replica is new")
START_FIRST = UpdatePolicy(order=UpdateOrder.START_FIRST)


def shop() -> Playbook:
    """Return a fleet of three in a row, all of it up."""
    play = Playbook(DB_OLD, API_OLD, WEB_OLD)
    play.start_all()
    return play


DB_OLD = service("db")
API_OLD = service("api", {"db": "started"})
WEB_OLD = service("web", {"api": "started"})


def test_one_of_twenty() -> None:
    """A change of one container touches that one alone: all others keep pid and start time."""
    before = [service(f"c{number}") for number in range(20)]
    play = Playbook(*before)
    play.start_all()
    play.now = 50.0
    after = [*before]
    after[7] = anew(before[7])
    assert play.change(*after) == [Signal(the("c7"), "TERM")]
    play.exits("c7", 0)
    play.up("c7")
    statuses = {str(status.instance): status for status in play.core.statuses()}
    assert statuses.pop("c7.1").started_at == 50.0
    assert {status.started_at for status in statuses.values()} == {0.0}
    assert all(status.state is State.RUNNING for status in statuses.values())


def test_dependencies_first() -> None:
    """What is above waits until what is beneath has come to its end, at any distance."""
    play = shop()
    assert play.change(anew(DB_OLD), API_OLD, anew(WEB_OLD)) == [Signal(DB, "TERM")]
    assert play.core.updates["web"].reason == "waiting for the update of `db`"
    play.exits("db", 0)
    assert play.up("db") == [
        UpdateEnded("db", UpdateResult.DONE, "every replica is new"),
        Signal(WEB, "TERM"),
    ]
    assert play.status("api").started_at == 0.0


def test_above_a_failure_nothing_is_of() -> None:
    """An update whose dependency's was paused or rolled back is paused before it begins."""
    for on_failure, word in (
        (OnUpdateFailure.PAUSE, UpdateResult.PAUSED),
        (OnUpdateFailure.ROLLBACK, UpdateResult.ROLLED_BACK),
    ):
        play = shop()
        play.change(
            evolve(anew(DB_OLD), update=UpdatePolicy(on_failure=on_failure)),
            anew(API_OLD),
            anew(WEB_OLD),
        )
        play.exits("db", 0)
        play.settle(play.tell(SpawnFailed(DB, "not there", permanent=True)))
        updates = play.core.updates
        assert updates["db"].result is word
        assert updates["api"].result is UpdateResult.PAUSED
        assert updates["api"].reason == f"the update of `db` was {word}"
        assert updates["web"].result is UpdateResult.PAUSED
        assert play.made_of("api") == API_OLD
        assert play.status("web").started_at == 0.0


def test_past_failures_do_not_hinder() -> None:
    """A change concerns itself with its own failures alone."""
    play = shop()
    play.change(anew(DB_OLD), API_OLD, WEB_OLD)
    play.exits("db", 0)
    play.tell(SpawnFailed(DB, "not there", permanent=True))
    assert play.change(anew(DB_OLD), API_OLD, anew(WEB_OLD)) == [Signal(WEB, "TERM")]


def test_gates_are_those_of_the_new_file() -> None:
    """From the moment of the change on, whatever is still made of the old value."""
    play = Playbook(service("db"), service("cache"), service("web", {"db": "started"}))
    play.start_all()
    play.exits("cache", 1)
    web = service("web", {"cache": "started"})
    assert play.change(service("db"), service("cache"), anew(web)) == [Signal(WEB, "TERM")]
    play.exits("web", 0)
    assert play.reason("web") == "waiting for `cache` to be started (cache is between attempts)"
    play.wait()
    assert Spawn(WEB, 1) in play.up("cache")


def test_everything_at_once() -> None:
    """Live, restart and nothing in one change, each to its own."""
    play = shop()
    live = evolve(DB_OLD, limits=Limits(pids=9))
    assert play.change(live, anew(API_OLD), WEB_OLD) == [Refresh(DB, live), Signal(API, "TERM")]
    assert play.exits("api", 0) == [Reshape(API, anew(API_OLD), fresh=False), Spawn(API, 1)]
    assert play.core.fleet == fleet(live, anew(API_OLD), WEB_OLD)
    assert set(play.core.updates) == {"api"}


def test_removal_ends_the_update() -> None:
    """An update of a container that goes is superseded, and forgotten."""
    play = shop()
    play.change(DB_OLD, API_OLD, anew(WEB_OLD))
    commands = play.change(DB_OLD, API_OLD)
    assert UpdateEnded("web", UpdateResult.SUPERSEDED, "removed from the file") in commands
    assert play.core.updates == {}


def test_changes_before_the_start_and_after_the_end_are_ignored() -> None:
    """Only a fleet that is up can be changed."""
    play = Playbook(service("web"))
    assert play.change(anew(service("web"))) == []
    assert play.tell(FleetStartRequested()) == [Spawn(WEB, 1)]
    assert play.made_of("web") == service("web")


def test_supersede() -> None:
    """A change in the course of an update takes its place; nothing is replaced without need."""
    web = service("web", replicas=3)
    play = begun(web)
    play.change(anew(web, "first"))
    play.exits("web.1", 0)
    play.up("web.1")
    assert play.state("web.2") is State.STOPPING
    last = anew(web, "second")
    superseded = UpdateEnded("web", UpdateResult.SUPERSEDED, "the file has changed again")
    assert play.change(last) == [superseded]
    assert play.exits("web.2", 0) == [Reshape(TWO, last, fresh=False), Spawn(TWO, 1)]
    assert play.up("web.2") == [Signal(ONE, "TERM")]
    play.exits("web.1", 0)
    assert play.up("web.1") == [Signal(THREE, "TERM")]
    play.exits("web.3", 0)
    assert play.up("web.3") == [DONE]


def test_supersede_by_the_old_value() -> None:
    """Back to what it was: what is on its way down comes back as it was, the rest is left alone."""
    web = evolve(service("web", replicas=2), update=START_FIRST)
    play = begun(web)
    play.change(anew(web))
    assert play.up("web.3") == [Signal(ONE, "TERM")]
    play.change(web)
    assert play.exits("web.1", 0) == [Spawn(ONE, 1)]
    assert play.up("web.1") == [DONE, Signal(THREE, "TERM")]
    assert play.status("web.2").started_at == 0.0
    assert play.exits("web.3", 0) == [Remove(THREE)]


def test_same_change_again_leaves_the_update_alone() -> None:
    """To apply the same file twice is to apply it once, also while it is still under way."""
    web = service("web", replicas=2)
    play, later = begun(web), anew(web)
    play.change(later)
    assert play.change(later) == []
    play.exits("web.1", 0)
    assert play.change(later) == []
    assert play.up("web.1") == [Signal(TWO, "TERM")]


def test_what_is_watched_stays_watched() -> None:
    """A change in between does not count as proof: a replica that fails soon after is a failure."""
    web = evolve(service("web", replicas=2), update=UpdatePolicy(monitor=5.0))
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    play.now = 1.0
    play.settle(play.change(evolve(anew(web), replicas=3)))
    play.exits("web.1", 1)
    assert play.core.updates["web"].result is UpdateResult.PAUSED
    assert play.state("web.2") is State.RUNNING
