"""One update: batches, additional replicas, watching, and what becomes of a failure."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Port,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.supervision.commands import (
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
    StopRequested,
)
from anchor_supervisor.supervision.states import State
from anchor_supervisor.supervision.update import UpdateStatus
from playbook import Playbook, anew, begun, ends, health, job, service, the

ONE, TWO, THREE, FOUR = (the(f"web.{number}") for number in (1, 2, 3, 4))
START_FIRST = UpdatePolicy(order=UpdateOrder.START_FIRST)


def done(name: str = "web") -> UpdateEnded:
    """Return the good end of an update."""
    return UpdateEnded(name, UpdateResult.DONE, "every replica is new")


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
