"""What `ps` and `why` are told: what comes next, and when."""

from __future__ import annotations

from anchor_supervisor.supervision.events import FleetStopRequested, StopRequested
from anchor_supervisor.supervision.states import ExitStatus, State
from playbook import Playbook, health, policy, service, the


def next_of(play: Playbook, name: str = "web") -> tuple[str | None, float | None]:
    """Return what happens next to an instance, and when."""
    status = play.status(name)
    return status.next, status.next_at


def test_next_through_a_life() -> None:
    """Each state says what follows without anyone's help, and when that is known."""
    play = Playbook(
        service("db"),
        service("web", {"db": "started"}, check=health(), restart=policy(most=2)),
    )
    assert next_of(play) == ("starts with the fleet", None)
    play.start()
    assert next_of(play) == ("starts once `db` is started", None)
    play.up("db")
    assert next_of(play) == ("runs once its command is executed", None)
    play.up("web")
    play.probed("web", 1, ok=True)
    assert next_of(play) == ("is probed", 5.0)
    play.exits("web", 1)
    assert next_of(play) == ("starts again (1st restart, at most 2 within 10m)", 1.0)
    play.wait()
    play.tell(StopRequested(the("web")))
    assert next_of(play) == ("is stopped as soon as it has started", None)
    play.up("web")
    assert next_of(play) == ("is killed", 11.0)
    play.wait()
    assert next_of(play) == ("is killed again", 12.0)
    play.exits("web", signal=9)
    assert next_of(play) == (None, None)


def test_next_while_the_fleet_stops() -> None:
    """What runs on during an ordered stop says what it waits for."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    play.tell(FleetStopRequested())
    assert next_of(play, "db") == ("is stopped once what depends on it is down", None)


def test_run_of_an_instance() -> None:
    """Pid, moments, end and counters of the present and the last run."""
    play = Playbook(service("web"))
    play.now = 5.0
    play.start()
    play.now = 6.0
    play.up("web")
    status = play.status("web")
    assert (status.pid, status.since, status.started_at) == (4000, 6.0, 6.0)
    assert (status.finished_at, status.exit, status.restarts) == (None, None, 0)
    play.now = 8.0
    play.exits("web", 1)
    play.wait()
    status = play.status("web")
    assert (status.pid, status.since, status.started_at, status.finished_at) == (
        None,
        9.0,
        6.0,
        8.0,
    )
    assert (status.exit, status.restarts, status.attempts_in_window) == (ExitStatus(1), 1, 1)
    assert play.core.statuses() == (status,)


def test_waiting_reason_follows_the_dependency() -> None:
    """The reason names every closed gate and the present state behind it."""
    play = Playbook(
        service("db", check=health(), restart=policy(most=0)),
        service("cache"),
        service("web", {"db": "healthy", "cache": "started"}),
    )
    play.start()
    assert play.reason("web") == (
        "waiting for `db` to be healthy (db is starting); "
        "waiting for `cache` to be started (cache is starting)"
    )
    assert next_of(play) == ("starts once `db` is healthy and `cache` is started", None)
    play.up("cache")
    play.up("db")
    assert play.reason("web") == "waiting for `db` to be healthy (db is running, not yet healthy)"
    play.exits("db", 1)
    assert play.reason("web") == (
        "waiting for `db` to be healthy (db has failed), which needs an operator"
    )
    assert next_of(play) == (None, None)
    (wait,) = play.status("web").waiting_on
    assert (wait.container, wait.instance, wait.dead) == ("db", the("db"), True)


def test_dead_dependencies_are_seen_from_afar() -> None:
    """What waits for something that can never start knows that it needs an operator, too."""
    play = Playbook(
        service("db"), service("api", {"db": "started"}), service("web", {"api": "started"})
    )
    play.start()
    play.tell(StopRequested(the("db")))
    play.up("db")
    play.exits("db", 0)
    assert play.state("db") is State.STOPPED
    assert play.reason("web") == (
        "waiting for `api` to be started (api is waiting), which needs an operator"
    )
