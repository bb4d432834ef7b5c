"""Members: what is new comes, what is gone goes, and what is wanted again stays."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import Port, UpdatePolicy
from anchor_supervisor.supervision.commands import (
    CancelSpawn,
    Drain,
    FleetDone,
    FleetReady,
    Refresh,
    Remove,
    Reshape,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.events import (
    Exited,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    StartRequested,
    StopRequested,
)
from anchor_supervisor.supervision.states import ExitStatus, State
from playbook import Playbook, anew, health, job, service, the

DB, API, WEB, TWO, THREE = the("db"), the("api"), the("web"), the("web.2"), the("web.3")


def test_scale_up() -> None:
    """New replicas are announced and started, and those that run keep running."""
    play = Playbook(service("web"))
    play.start_all()
    more = service("web", replicas=3)
    commands = play.change(more)
    assert commands == [
        Reshape(TWO, more, fresh=True),
        Reshape(THREE, more, fresh=True),
        Refresh(WEB, more),
        Spawn(TWO, 1),
        Spawn(THREE, 1),
    ]
    assert play.status("web.1").pid == 4000
    assert play.change(more) == []


def test_scale_down() -> None:
    """The highest numbers go, drained where others remain, and are never heard of again."""
    web = evolve(
        service("web", replicas=3),
        ports=(Port("127.0.0.1", 8080, 80),),
        update=UpdatePolicy(drain=2.0),
    )
    play = Playbook(web)
    play.start_all()
    fewer = evolve(web, replicas=1)
    commands = play.change(fewer)
    assert [c for c in commands if isinstance(c, Drain)] == [Drain(TWO), Drain(THREE)]
    assert play.wait() == [Signal(TWO, "TERM"), Signal(THREE, "TERM")]
    assert play.exits("web.2", 0) == [Remove(TWO)]
    assert play.reports[-1].reason == "scaled down to 1, exited (0)"
    assert play.exits("web.3", 0) == [Remove(THREE)]
    assert play.states() == {"web.1": State.RUNNING}
    for event in (
        Exited(TWO, ExitStatus(code=0)),
        StartRequested(TWO),
        ProbeFinished(TWO, 1, ok=True, output=""),
    ):
        assert play.tell(event) == []


def test_scale_there_and_back() -> None:
    """A replica that is wanted again while it stops comes back; one that is gone is made anew."""
    web = service("web", replicas=2)
    play = Playbook(web)
    play.start_all()
    play.change(service("web"))
    assert play.state("web.2") is State.STOPPING
    play.change(web)
    assert play.exits("web.2", 0) == [Spawn(TWO, 1)]
    play.up("web.2")
    play.change(service("web"))
    assert play.exits("web.2", 0) == [Remove(TWO)]
    commands = play.change(web)
    assert commands.index(Reshape(TWO, web, fresh=True)) < commands.index(Spawn(TWO, 1))


def test_added_container() -> None:
    """A new container is announced, and started as its gates allow."""
    play = Playbook(service("db", check=health()))
    play.start_all()
    web = service("web", {"db": "healthy"})
    assert play.change(service("db", check=health()), web) == [Reshape(WEB, web, fresh=True)]
    assert play.state("web") is State.WAITING
    assert play.probed("db", 1, ok=True) == [Spawn(WEB, 1)]
    assert play.up("web") == [FleetReady()]


def test_removal_with_dependents() -> None:
    """What goes together goes dependents first, and each gives back what it holds."""
    play = Playbook(
        service("db"), service("api", {"db": "started"}), service("web", {"api": "started"})
    )
    play.start_all()
    web = service("web")
    commands = play.change(web)
    assert Signal(API, "TERM") in commands
    assert Signal(DB, "TERM") not in commands
    assert play.exits("api", 0) == [Remove(API), Signal(DB, "TERM")]
    assert play.exits("db", 0) == [Remove(DB)]
    assert play.reports[-1].reason == "removed from the file, exited (0)"
    assert play.states() == {"web.1": State.RUNNING}


def test_removal_of_what_does_not_run() -> None:
    """What is down, waits or is between attempts goes at once, with a last word."""
    play = Playbook(
        service("web"), job("load"), service("mail", {"load": "completed"}), service("cron")
    )
    play.start_all()
    play.exits("load", 3)
    play.exits("cron", 1)
    assert play.change(service("web")) == [
        FleetReady(),
        Remove(the("load")),
        Remove(the("mail")),
        Remove(the("cron")),
    ]
    assert {report.reason for report in play.reports[-3:]} == {"removed from the file"}


def test_removal_while_it_starts() -> None:
    """A start under way is given up, and what comes of it nevertheless is stopped."""
    play = Playbook(service("db"), service("web"))
    play.start()
    play.up("db")
    assert CancelSpawn(WEB) in play.change(service("db"))
    assert play.up("web") == [Signal(WEB, "TERM")]
    assert play.exits("web", 0) == [Remove(WEB)]


def test_what_leaves_does_not_hear_operators() -> None:
    """Nobody starts it again, and its crash is its end."""
    play = Playbook(service("db"), service("api", {"db": "started"}))
    play.start_all()
    play.change(service("web"))
    for event in (StartRequested(DB), RestartRequested(DB), StopRequested(DB)):
        assert play.tell(event) == []
    assert play.state("db") is State.RUNNING
    assert play.exits("db", 1) == [Remove(DB)]
    assert play.exits("api", 0) == [Remove(API)]


def test_fleet_stops_while_something_leaves() -> None:
    """The ordered stop waits for those that leave, too."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start_all()
    play.change(service("db"))
    assert play.state("web") is State.STOPPING
    assert play.tell(FleetStopRequested()) == []
    assert play.exits("web", 0) == [Remove(WEB), Signal(DB, "TERM")]
    assert play.exits("db", 0) == [FleetDone(0, "stopped on request")]


def test_order_and_names() -> None:
    """All are shown in the file's order; a name means every replica, also one that leaves."""
    play = Playbook(service("web", replicas=2), service("db"))
    play.start_all()
    play.change(service("db"), service("web"), service("api"))
    assert list(play.states()) == ["db.1", "web.1", "web.2", "api.1"]
    assert play.core.resolve("web") == (WEB, TWO)


def test_fleet_of_jobs_ends_after_a_change() -> None:
    """If nothing but jobs is left, and all are done, the fleet is at its end."""
    play = Playbook(job("load"), service("web"))
    play.start_all()
    play.exits("load", 0)
    play.change(job("load"))
    assert play.exits("web", 0) == [Remove(WEB), FleetDone(0, "all jobs have finished")]


def test_replaced_container_of_a_fleet_of_jobs() -> None:
    """A job that is to run again keeps the fleet up."""
    play = Playbook(job("load"), service("web"))
    play.start_all()
    play.exits("load", 0)
    assert Spawn(the("load"), 1) in play.change(anew(job("load")))
    play.exits("web", 0)
    play.up("load")
    assert play.exits("load", 0)[-1] == FleetDone(0, "all jobs have finished")


def test_what_waits_for_one_that_stays_after_all() -> None:
    """If a dependent that was leaving is wanted again, what leaves does not wait for it."""
    play = Playbook(service("db"), service("api", {"db": "started"}))
    play.start_all()
    play.change(service("web"))
    assert play.state("db") is State.RUNNING
    assert Signal(DB, "TERM") in play.change(service("web"), service("api"))
