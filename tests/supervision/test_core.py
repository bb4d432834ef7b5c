"""The fleet as a whole: gates, order, readiness, and the end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.supervision.commands import (
    CancelSpawn,
    FleetDone,
    FleetReady,
    FleetUnready,
    RunProbe,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.events import (
    Event,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    RestartRequested,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.states import Phase, State
from playbook import NEVER, PROBE, Playbook, health, job, policy, service, the

DB, WEB, LOAD = the("db"), the("web"), the("load")


def test_nothing_begins_unasked() -> None:
    """Before the fleet is started nothing is, and no operator's verb is heard."""
    play = Playbook(service("web"))
    for event in (Tick(), StartRequested(WEB), StopRequested(WEB), RestartRequested(WEB)):
        assert play.tell(event) == []
    assert play.state("web") is State.WAITING
    assert play.reason("web") == "the fleet has not been started"
    assert play.core.phase is Phase.IDLE


def test_started_twice() -> None:
    """A second start of the fleet changes nothing."""
    play = Playbook(service("web"))
    assert play.start() == [Spawn(WEB, 1)]
    assert play.start() == []


@pytest.mark.parametrize("condition", ["started", "healthy", "completed"])
def test_dependents_start_when_the_condition_comes_true(condition: str) -> None:
    """The call that makes the condition true starts the dependent; none before it does."""
    if condition == "completed":
        play = Playbook(job("db"), service("web", {"db": condition}))
    else:
        play = Playbook(service("db", check=health()), service("web", {"db": condition}))
    assert play.start() == [Spawn(DB, 1)]
    begun = play.up("db")
    if condition == "started":
        assert begun == [RunProbe(DB, 1, PROBE, 2.0), Spawn(WEB, 1)]
    elif condition == "healthy":
        assert begun == [RunProbe(DB, 1, PROBE, 2.0)]
        assert play.probed("db", 1, ok=True) == [Spawn(WEB, 1)]
    else:
        assert begun == []
        assert play.exits("db", 0) == [Spawn(WEB, 1)]


def test_completed_job_counts_as_started() -> None:
    """`started` holds for a job that is running, and for one that is done."""
    play = Playbook(
        job("load"), service("db"), service("web", {"load": "started", "db": "started"})
    )
    play.start()
    play.up("load")
    play.exits("load", 0)
    assert play.up("db") == [Spawn(WEB, 1)]


def test_every_replica_must_satisfy() -> None:
    """A dependency on replicas is one on each of them."""
    play = Playbook(service("db", replicas=3), service("web", {"db": "started"}))
    assert play.start() == [Spawn(the(f"db.{replica}"), 1) for replica in (1, 2, 3)]
    assert play.up("db.3") == []
    assert play.up("db.1") == []
    assert play.reason("web") == "waiting for `db` to be started (db.2 is starting)"
    assert play.up("db.2") == [Spawn(WEB, 1)]


def test_gates_apply_to_restarts() -> None:
    """A container whose next attempt is due waits while its dependency is down."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    play.exits("web", 1)
    play.exits("db", 1)
    assert play.wait() == [Spawn(DB, 2)]
    assert play.state("web") is State.WAITING
    assert play.reason("web") == "waiting for `db` to be started (db is starting)"
    assert play.up("db") == [Spawn(WEB, 2)]


def test_gates_apply_to_operators() -> None:
    """A start by hand passes the same gates, and happens by itself once they open."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    for name in ("web", "db"):
        play.tell(StopRequested(the(name)))
        play.exits(name, 0)
    assert play.tell(StartRequested(WEB)) == []
    assert play.state("web") is State.WAITING
    assert play.tell(StartRequested(DB)) == [Spawn(DB, 1)]
    assert play.up("db") == [Spawn(WEB, 1)]


def test_stop_of_one_leaves_dependents() -> None:
    """Stopping one container leaves those that depend on it running."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    assert play.tell(StopRequested(DB)) == [Signal(DB, "TERM")]
    play.exits("db", 0)
    assert play.state("web") is State.RUNNING


def test_fleet_stops_dependents_first() -> None:
    """Each container is asked to end once all that depend on it are down, the rest side by side."""
    play = Playbook(
        service("db"),
        service("cache"),
        service("api", {"db": "started", "cache": "started"}),
        service("web", {"api": "started"}),
        service("cron", {"db": "started"}),
    )
    play.start()
    for name in ("db", "cache", "api", "web", "cron"):
        play.up(name)
    assert play.tell(FleetStopRequested()) == [Signal(WEB, "TERM"), Signal(the("cron"), "TERM")]
    assert play.exits("cron", 0) == []
    assert play.exits("web", 0) == [Signal(the("api"), "TERM")]
    assert play.exits("api", 0) == [Signal(DB, "TERM"), Signal(the("cache"), "TERM")]
    assert play.exits("db", 0) == []
    assert play.exits("cache", 0) == [FleetDone(0, "stopped on request")]


def test_fleet_stop_is_quiet_at_the_end() -> None:
    """After FleetDone nothing is armed, and nothing that is said has an effect."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    assert play.tell(FleetStopRequested()) == [CancelSpawn(DB)]
    assert play.up("db") == [Signal(DB, "TERM")]
    assert play.exits("db", 0) == [FleetDone(0, "stopped on request")]
    assert play.core.phase is Phase.DONE
    assert play.core.next_deadline() is None
    events: list[Event] = [FleetStartRequested(), StartRequested(DB), Tick(), FleetKillRequested()]
    for event in events:
        assert play.tell(event) == []


def test_fleet_that_was_never_started_stops_at_once() -> None:
    """A stop before the start is the end."""
    assert Playbook(service("web")).tell(FleetStopRequested()) == [
        FleetDone(0, "stopped on request")
    ]


def test_operators_are_not_heard_while_the_fleet_stops() -> None:
    """Once the fleet goes down, nobody brings a part of it up again, or breaks the order."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    play.tell(FleetStopRequested())
    for event in (StopRequested(DB), RestartRequested(DB), StartRequested(WEB)):
        assert play.tell(event) == []
    assert play.exits("web", 0) == [Signal(DB, "TERM")]


def test_essential_that_gives_up_stops_the_fleet() -> None:
    """An essential container that fails takes the fleet down in order, with exit code 1."""
    play = Playbook(
        service("db", essential=True, restart=policy(most=0)), service("web", {"db": "started"})
    )
    play.start()
    play.up("db")
    play.up("web")
    assert play.exits("db", 1) == [Signal(WEB, "TERM")]
    play.tell(FleetStopRequested())
    assert play.exits("web", 0) == [
        FleetDone(
            1,
            "essential container `db` has failed: gave up: 0 restarts within 10m, last exit 1",
        )
    ]


def test_essential_that_gives_up_starts_nothing_more() -> None:
    """Of what fell due with the end of an essential container, nothing is started any more."""
    play = Playbook(service("db", essential=True, restart=NEVER), service("web"))
    play.start()
    play.up("db")
    play.up("web")
    play.exits("web", 1)
    play.now += 60.0
    assert play.exits("db", 1) == [
        FleetDone(1, "essential container `db` has failed: exited (1), policy no")
    ]


def test_jobs_end_by_themselves() -> None:
    """A fleet of jobs is done when they are."""
    play = Playbook(job("load"), job("check", {"load": "completed"}))
    play.start()
    play.up("load")
    assert play.exits("load", 0) == [Spawn(the("check"), 1)]
    play.up("check")
    assert play.exits("check", 0) == [FleetReady(), FleetDone(0, "all jobs have finished")]


def test_failed_job_makes_exit_code_one() -> None:
    """The other jobs go on; at the end the code is 1, and the reason names the one that failed."""
    play = Playbook(job("load"), job("check"))
    play.start()
    play.up("load")
    play.up("check")
    why = "`load` has failed: exited (3), policy no"
    assert play.exits("load", 3) == [FleetUnready(why)]
    assert play.exits("check", 0) == [FleetDone(1, f"job {why}")]


def test_jobs_that_can_never_run_do_not_hold_the_fleet() -> None:
    """What waits for a failed job for ever, at any distance, does not keep the fleet up."""
    play = Playbook(
        job("load"), job("check", {"load": "completed"}), job("mail", {"check": "started"})
    )
    play.start()
    why = "`load` has failed: cannot start: no such file"
    assert play.tell(SpawnFailed(LOAD, "no such file", permanent=True)) == [
        FleetUnready(why),
        FleetDone(1, f"job {why}"),
    ]


def test_job_blocked_by_a_stopped_one() -> None:
    """A job that waits for one that an operator stopped can never run: exit code 1."""
    play = Playbook(job("load"), job("check", {"load": "completed"}))
    play.start()
    assert play.tell(StopRequested(LOAD)) == [CancelSpawn(LOAD)]
    unready, done = play.tell(SpawnFailed(LOAD, "no such file"))
    assert isinstance(unready, FleetUnready)
    assert done == FleetDone(
        1,
        "job `check` cannot run: waiting for `load` to be completed (load is stopped), "
        "which needs an operator",
    )


def test_services_stay_up() -> None:
    """A fleet with services stays until it is asked to go, even if nothing runs."""
    play = Playbook(service("web", restart=NEVER), job("load"))
    play.start()
    play.up("web")
    play.up("load")
    play.exits("load", 1)
    play.exits("web", 1)
    assert play.core.phase is Phase.UP
    assert play.tell(FleetStopRequested()) == [FleetDone(0, "stopped on request")]


def test_ready_once() -> None:
    """Ready is said once: all services up and healthy where that is checked, all jobs done."""
    play = Playbook(service("db", check=health()), service("web"), job("load"))
    play.start()
    play.up("web")
    play.up("db")
    play.up("load")
    assert play.exits("load", 0) == []
    assert play.probed("db", 1, ok=True) == [FleetReady()]
    play.exits("web", 1)
    assert play.wait() == [Spawn(WEB, 2)]
    assert play.up("web") == []


def test_unready_once_and_ready_with_help() -> None:
    """What gives up before the fleet is ready is told once, and an operator can still help."""
    play = Playbook(service("db", restart=NEVER), service("web", restart=NEVER))
    play.start()
    play.up("db")
    assert play.exits("db", 1) == [FleetUnready("`db` has failed: exited (1), policy no")]
    play.up("web")
    assert play.exits("web", 0) == []
    for name in ("db", "web"):
        play.tell(StartRequested(the(name)))
    play.up("web")
    assert play.up("db") == [FleetReady()]


def test_unknown_instances_are_ignored() -> None:
    """What is said of an instance that the fleet does not have changes nothing."""
    play = Playbook(service("web"))
    play.start()
    for name in ("nobody", "web.2"):
        for event in (StartRequested(the(name)), StopRequested(the(name))):
            assert play.tell(event) == []
        assert play.up(name) == []
        assert play.exits(name, 0) == []
        assert play.probed(name, 1, ok=True) == []


def test_time_does_not_go_back() -> None:
    """A moment before the last one counts as the last one."""
    play = Playbook(service("web"))
    play.now = 100.0
    play.start()
    play.up("web")
    play.now = 50.0
    play.exits("web", 1)
    assert play.core.next_deadline() == 101.0


def test_names() -> None:
    """`web` is every replica, `web.2` the second, and what is unknown is nothing."""
    core = Playbook(service("web", replicas=2)).core
    assert core.resolve("web") == (WEB, InstanceId("web", 2))
    assert core.resolve("web.2") == (InstanceId("web", 2),)
    assert core.resolve("web.3") == core.resolve("db") == ()
    assert core.snapshot("web.2").instance == InstanceId("web", 2)
    assert core.snapshot("web").instance == WEB
    with pytest.raises(KeyError):
        core.snapshot("db")


def test_thousand_containers_in_one_chain() -> None:
    """The longest chain that a file can hold neither recurses too deep nor loses its order."""
    names = [f"c{number}" for number in range(1000)]
    play = Playbook(
        *(
            service(name, {names[number - 1]: "started"} if number else None)
            for number, name in enumerate(names)
        )
    )
    play.start()
    for name, following in pairwise(names):
        assert play.up(name) == [Spawn(the(following), 1)]
    assert play.up(names[-1]) == [FleetReady()]
    assert play.tell(FleetStopRequested()) == [Signal(the("c999"), "TERM")]
