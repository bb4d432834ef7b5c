"""One update: batches, additional replicas, watching, and what becomes of a failure."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    OnUpdateFailure,
    Port,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.supervision.commands import (
    Command,
    Drain,
    FleetReady,
    Remove,
    Reshape,
    Signal,
    Spawn,
    UpdateEnded,
    UpdateResult,
)
from anchor_supervisor.supervision.events import (
    FleetStopRequested,
    RestartRequested,
    SpawnFailed,
    StopRequested,
)
from anchor_supervisor.supervision.states import State
from anchor_supervisor.supervision.update import UpdateStatus
from playbook import Playbook, anew, health, job, service, the

ONE, TWO, THREE, FOUR = (the(f"web.{number}") for number in (1, 2, 3, 4))
START_FIRST = UpdatePolicy(order=UpdateOrder.START_FIRST)


def done(name: str = "web") -> UpdateEnded:
    """Return the good end of an update."""
    return UpdateEnded(name, UpdateResult.DONE, "every replica is new")


def begun(web: Container) -> Playbook:
    """Return a fleet of this container, all of it up."""
    play = Playbook(web)
    play.start_all()
    return play


def ends(commands: list[Command]) -> list[tuple[UpdateResult, str]]:
    """Return the ends of updates among these."""
    return [(one.result, one.reason) for one in commands if isinstance(one, UpdateEnded)]


def test_stop_first_goes_one_by_one() -> None:
    """Each replica is stopped, made new, started, and ready before the next is touched."""
    web = service("web", replicas=3)
    play, later = begun(web), anew(web)
    assert play.change(later) == [Signal(ONE, "TERM")]
    for here, following in ((ONE, TWO), (TWO, THREE)):
        assert play.exits(str(here), 0) == [Reshape(here, later, fresh=False), Spawn(here, 1)]
        assert play.up(str(here)) == [Signal(following, "TERM")]
    course = "waiting for `web.3` to be ready"
    assert play.core.updates["web"] == UpdateStatus("web", True, None, course, 2, 3)
    play.exits("web.3", 0)
    assert play.up("web.3") == [done()]
    end = UpdateStatus("web", False, UpdateResult.DONE, done().reason, 3, 3)
    assert play.core.updates["web"] == end


def test_parallelism() -> None:
    """As many as the policy says are replaced at a time; the next batch awaits all of it."""
    web = evolve(service("web", replicas=3), update=UpdatePolicy(parallelism=2))
    play, later = begun(web), anew(web)
    assert play.change(later) == [Signal(ONE, "TERM"), Signal(TWO, "TERM")]
    play.exits("web.1", 0)
    assert play.up("web.1") == []
    play.exits("web.2", 0)
    assert play.up("web.2") == [Signal(THREE, "TERM")]


def test_health_makes_ready() -> None:
    """With a health check a replica is ready when it is healthy, not when it is up."""
    web = service("web", replicas=2, check=health())
    play = begun(web)
    for name in ("web.1", "web.2"):
        play.probed(name, 1, ok=True)
    play.change(anew(web))
    play.exits("web.1", 0)
    assert Signal(TWO, "TERM") not in play.up("web.1")
    assert play.probed("web.1", 2, ok=True) == [Signal(TWO, "TERM")]


def test_monitor() -> None:
    """A replica has to stay ready for `monitor` seconds, counted from when it was ready last."""
    web = evolve(service("web", replicas=2), update=UpdatePolicy(monitor=5.0))
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    assert play.up("web.1") == []
    assert play.core.next_deadline() == 5.0
    play.now = 3.0
    assert play.tell(RestartRequested(ONE)) == [Signal(ONE, "TERM")]
    play.exits("web.1", 0)
    assert play.up("web.1") == []
    assert play.core.next_deadline() == 8.0
    assert play.wait() == [Signal(TWO, "TERM")]


def test_start_first_with_one_replica() -> None:
    """A second one stands in, is ready, and goes when the first has been replaced in place."""
    web = evolve(service("web"), update=START_FIRST)
    play, later = begun(web), anew(web)
    assert play.change(later) == [Reshape(TWO, later, fresh=True), Spawn(TWO, 1)]
    assert play.state("web.1") is State.RUNNING
    assert play.up("web.2") == [Signal(ONE, "TERM")]
    assert play.exits("web.1", 0) == [Reshape(ONE, later, fresh=False), Spawn(ONE, 1)]
    assert play.up("web.1") == [done(), Signal(TWO, "TERM")]
    assert play.exits("web.2", 0) == [Remove(TWO)]
    assert play.states() == {"web.1": State.RUNNING}


def test_start_first_drains_published_ports() -> None:
    """What has published ports is led nothing new before it is stopped, while another is ready."""
    web = evolve(
        service("web"),
        ports=(Port("127.0.0.1", 8080, 80),),
        update=UpdatePolicy(order=UpdateOrder.START_FIRST, drain=3.0),
    )
    play = begun(web)
    play.change(anew(web))
    assert play.up("web.2") == [Drain(ONE)]
    assert play.core.next_deadline() == 3.0
    assert play.wait() == [Signal(ONE, "TERM")]
    play.exits("web.1", 0)
    assert play.up("web.1") == [done(), Drain(TWO)]
    assert play.wait() == [Signal(TWO, "TERM")]


def test_only_replica_is_not_drained() -> None:
    """Where nobody takes over there is nothing to gain from waiting."""
    web = evolve(service("web"), ports=(Port("127.0.0.1", 8080, 80),))
    assert begun(web).change(anew(web)) == [Signal(ONE, "TERM")]


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


def test_additional_replica_that_falls_holds_the_next_batch() -> None:
    """Nothing is stopped while what stands in for it is not ready."""
    web = evolve(service("web", replicas=2), update=START_FIRST)
    play = begun(web)
    play.change(anew(web))
    play.up("web.3")
    play.exits("web.1", 0)
    play.exits("web.3", 1)
    assert play.up("web.1") == []
    assert play.wait() == [Spawn(THREE, 2)]
    assert play.up("web.3") == [Signal(TWO, "TERM")]


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


def test_scale_in_the_course_of_an_update() -> None:
    """More replicas come as the new kind at once, and the update goes on with the old ones."""
    web = service("web", replicas=2)
    play = begun(web)
    play.change(anew(web))
    later = evolve(anew(web), replicas=3)
    assert Spawn(THREE, 1) in play.change(later)
    play.up("web.3")
    assert play.exits("web.1", 0) == [Reshape(ONE, later, fresh=False), Spawn(ONE, 1)]
    assert play.up("web.1") == [Signal(TWO, "TERM")]


def test_operator_stops_what_is_watched() -> None:
    """A replica that an operator stops is no failure, and holds nothing up."""
    web = service("web", replicas=2)
    play = begun(web)
    play.change(anew(web))
    play.exits("web.1", 0)
    play.up("web.1")
    assert play.tell(StopRequested(TWO)) == []
    assert play.exits("web.2", 0) == [Reshape(TWO, anew(web), fresh=False), done()]
    assert play.state("web.2") is State.STOPPED


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


def test_job_is_run_again_and_awaited() -> None:
    """The update of a job ends with the job."""
    load = job("load")
    play = Playbook(load, service("web"))
    play.start_all()
    play.exits("load", 0)
    play.change(anew(load), service("web"))
    play.up("load")
    assert play.core.updates["load"].active
    assert play.exits("load", 0) == [done("load")]


def test_fleet_that_stops_ends_the_update() -> None:
    """Whoever waits for the update hears that it was not done."""
    web = service("web", replicas=2)
    play = begun(web)
    play.change(anew(web))
    assert ends(play.tell(FleetStopRequested())) == [(UpdateResult.PAUSED, "the fleet is stopping")]


def test_readiness_is_that_of_the_replicas() -> None:
    """An additional replica neither makes the fleet ready nor keeps it from being so."""
    web = evolve(service("web", check=health()), update=START_FIRST)
    play = begun(web)
    play.change(anew(web))
    assert FleetReady() not in play.up("web.1")
    assert FleetReady() in play.probed("web.1", 1, ok=True)
