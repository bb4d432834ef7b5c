"""Updates that fail: paused, gone on with, rolled back."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Condition,
    OnUpdateFailure,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.supervision.commands import (
    Remove,
    Reshape,
    Signal,
    Spawn,
    UpdateEnded,
    UpdateResult,
)
from anchor_supervisor.supervision.events import (
    SpawnFailed,
    StopRequested,
)
from anchor_supervisor.supervision.states import State
from playbook import NEVER, Playbook, anew, begun, ends, health, policy, service, the

ONE, TWO, THREE, FOUR = (the(f"web.{number}") for number in (1, 2, 3, 4))
START_FIRST = UpdatePolicy(order=UpdateOrder.START_FIRST)


def done(name: str = "web") -> UpdateEnded:
    """Return the good end of an update."""
    return UpdateEnded(name, UpdateResult.DONE, "every replica is new")


def test_failed_additional_replica_touches_nothing() -> None:
    """With start-first a new kind that does not start costs no replica of the old."""
    web = evolve(service("web", replicas=2), update=START_FIRST)
    play = begun(web)
    play.change(anew(web))
    why = "`web.3` has failed: cannot start: no such file"
    assert ends(play.tell(SpawnFailed(THREE, "no such file", permanent=True))) == [
        (UpdateResult.PAUSED, why)
    ]
    assert play.states() == {
        "web.1": State.RUNNING,
        "web.2": State.RUNNING,
        "web.3": State.FAILED,
    }
    assert ends(play.change(web)) == [(UpdateResult.DONE, "every replica is new")]
    assert play.states() == {"web.1": State.RUNNING, "web.2": State.RUNNING}


def test_pause() -> None:
    """By default a failure leaves everything as it is, and nothing more is begun."""
    web = service("web", replicas=3)
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    why = "`web.1` has failed: cannot start: not there"
    assert ends(play.tell(SpawnFailed(ONE, "not there", permanent=True))) == [
        (UpdateResult.PAUSED, why)
    ]
    assert play.core.updates["web"].reason == why
    assert play.made_of("web.2") == web
    assert play.states()["web.2"] is State.RUNNING


def test_pause_is_taken_up_by_the_next_change() -> None:
    """After a correction the failed replica comes first, and the others after it."""
    web = service("web", replicas=2)
    play = begun(web)
    play.change(anew(web, "broken"))
    play.exits("web.1", 0)
    play.tell(SpawnFailed(ONE, "not there", permanent=True))
    later = anew(web, "mended")
    assert play.change(later) == [Reshape(ONE, later, fresh=False), Spawn(ONE, 1)]
    assert play.up("web.1") == [Signal(TWO, "TERM")]
    play.exits("web.2", 0)
    assert play.up("web.2") == [done()]


def test_continue() -> None:
    """Where the policy is to go on, the failure is named at the end."""
    web = evolve(
        service("web", replicas=2),
        update=UpdatePolicy(on_failure=OnUpdateFailure.CONTINUE),
    )
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    assert play.tell(SpawnFailed(ONE, "not there", permanent=True)) == [Signal(TWO, "TERM")]
    play.exits("web.2", 0)
    assert ends(play.up("web.2")) == [
        (UpdateResult.DONE, "`web.1` has failed: cannot start: not there")
    ]


def test_rollback() -> None:
    """The failed replica and those replaced before it go back to what they were."""
    web = evolve(
        service("web", replicas=3),
        update=UpdatePolicy(monitor=5.0, on_failure=OnUpdateFailure.ROLLBACK),
    )
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    assert play.wait() == [Signal(TWO, "TERM")]
    play.exits("web.2", 0)
    play.up("web.2")
    # The crash is heard of before the next attempt, which would be one of the new kind.
    assert play.exits("web.2", 1) == [Reshape(TWO, web, fresh=False), Spawn(TWO, 1)]
    play.up("web.2")
    assert play.wait() == [Signal(ONE, "TERM")]
    assert play.exits("web.1", 0) == [Reshape(ONE, web, fresh=False), Spawn(ONE, 1)]
    play.up("web.1")
    why = "`web.2` has ended: exited (1)"
    assert play.wait() == [UpdateEnded("web", UpdateResult.ROLLED_BACK, why)]
    assert play.core.fleet.containers["web"] == web
    assert [play.made_of(f"web.{number}") for number in (1, 2, 3)] == [web] * 3


def test_rollback_keeps_number_and_edges() -> None:
    """What the file says of the fleet's shape stays: another number, other dependencies."""
    db = service("db")
    web = evolve(service("web"), update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK))
    play = Playbook(db, web)
    play.start_all()
    later = evolve(anew(web), replicas=2, depends_on={"db": Condition.STARTED})
    play.change(db, later)
    play.tell(SpawnFailed(TWO, "not there", permanent=True))
    play.settle(play.exits("web.1", 0))
    play.settle([Spawn(TWO, 1)])
    back = play.core.fleet.containers["web"]
    assert back == evolve(later, command=None)
    assert set(play.states()) == {"db.1", "web.1", "web.2"}


def test_rollback_that_fails_stops_there() -> None:
    """If the old kind does not start either, nothing more is taken down for it."""
    web = evolve(
        service("web", replicas=2),
        update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK),
    )
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    play.exits("web.2", 0)
    play.tell(SpawnFailed(TWO, "no room", permanent=True))
    cause = "`web.2` has failed: cannot start: no room"
    assert ends(play.tell(SpawnFailed(TWO, "no room", permanent=True))) == [
        (UpdateResult.PAUSED, f"{cause}; while rolling back, {cause}")
    ]
    assert play.state("web.1") is State.RUNNING


def test_what_waits_for_ever_pauses() -> None:
    """A replica that waits for something an operator must mend does not hold the update open."""
    db = service("db")
    web = evolve(
        service("web", {"db": "started"}),
        update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK),
    )
    play = Playbook(db, web)
    play.start_all()
    play.tell(StopRequested(the("db")))
    play.exits("db", 0)
    play.change(db, anew(web))
    why = (
        "`web` cannot start: waiting for `db` to be started (db is stopped), "
        "which needs an operator"
    )
    assert ends(play.exits("web", 0)) == [(UpdateResult.PAUSED, why)]


def test_unhealthy_is_a_failure() -> None:
    """So is a replica that its health check condemns, whatever its own policy does about it."""
    web = service("web", check=health(interval=0.05, retries=1))
    play = begun(web)
    play.probed("web", 1, ok=True)
    play.change(anew(web))
    play.exits("web", 0)
    play.up("web")
    play.probed("web", 2, ok=False)
    play.wait()
    commands = play.probed("web", 3, ok=False)
    assert ends(commands) == [(UpdateResult.PAUSED, "`web` is unhealthy: 1 probe failed in a row")]


def test_going_on_in_spite_of_failures_ends_where_nothing_can_start() -> None:
    """If nothing more can start at all, no replica is taken down for it, whatever the policy."""
    db = service("db")
    web = evolve(
        service("web", {"db": "started"}, replicas=2),
        update=UpdatePolicy(order=UpdateOrder.START_FIRST, on_failure=OnUpdateFailure.CONTINUE),
    )
    play = Playbook(db, web)
    play.start_all()
    play.tell(StopRequested(the("db")))
    play.exits("db", 0)
    commands = play.change(db, anew(web))
    assert [result for result, _ in ends(commands)] == [UpdateResult.PAUSED]
    assert play.states()["web.1"] is play.states()["web.2"] is State.RUNNING


def test_paused_update_is_not_taken_up_by_the_same_file_over_a_failure() -> None:
    """What failed is tried first, so a broken file does not take down one replica at a time."""
    web = evolve(
        service("web", replicas=2, restart=policy(delay=60.0)),
        update=UpdatePolicy(monitor=5.0),
    )
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    assert ends(play.exits("web.1", 1)) == [(UpdateResult.PAUSED, "`web.1` has ended: exited (1)")]
    play.change(anew(web))
    assert play.state("web.2") is State.RUNNING
    play.tell(StopRequested(ONE))
    assert play.state("web.2") is State.STOPPING


def test_additional_replica_that_failed_before_is_made_anew() -> None:
    """A second attempt does not wait for what the first one left behind."""
    web = evolve(service("web"), update=START_FIRST)
    play = begun(web)
    play.change(anew(web))
    play.tell(SpawnFailed(TWO, "no room", permanent=True))
    assert play.change(anew(web)) == [
        Reshape(THREE, anew(web), fresh=True),
        Remove(TWO),
        Spawn(THREE, 1),
    ]
    assert play.up("web.3") == [Signal(ONE, "TERM")]


def test_nothing_to_go_back_to() -> None:
    """An update that leads back to the last good value by itself is paused where it fails."""
    web = evolve(
        service("web", replicas=2), update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK)
    )
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    play.change(web)
    play.exits("web.2", 0)
    why = "`web.2` has failed: cannot start: no room"
    failed = play.tell(SpawnFailed(TWO, "no room", permanent=True))
    assert ends(failed) == [(UpdateResult.PAUSED, why)]


def test_additional_replica_whose_gate_the_file_opens() -> None:
    """What an update left waiting starts once the file asks for less."""
    db = service("db", restart=NEVER)
    web = evolve(service("web", {"db": "started"}), update=START_FIRST)
    play = Playbook(db, web)
    play.start_all()
    play.exits("db", 1)
    play.change(db, anew(web))
    assert play.state("web.2") is State.WAITING
    free = evolve(anew(web), depends_on={})
    assert Spawn(TWO, 1) in play.change(db, free)


def test_rollback_starts_first_as_well() -> None:
    """The way back costs no ready replica either: an additional one of the old kind stands in."""
    web = evolve(
        service("web", replicas=2),
        update=UpdatePolicy(order=UpdateOrder.START_FIRST, on_failure=OnUpdateFailure.ROLLBACK),
    )
    play = Playbook(web)
    play.start()
    for name in ("web.1", "web.2"):
        play.tell(SpawnFailed(the(name), "no room", permanent=True))
    play.change(anew(web))
    play.up("web.1")
    play.tell(SpawnFailed(TWO, "no room", permanent=True))
    assert play.up("web.2")[1:] == [Reshape(THREE, web, fresh=True), Spawn(THREE, 1)]
    assert play.up("web.3") == [Signal(ONE, "TERM")]
