"""`on_restart`: what a dependency's restart means to those above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from attrs import evolve

from anchor_supervisor.fleet.model import (
    Container,
    OnUpdateFailure,
    Reaction,
    ReactionKind,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.supervision.commands import Command, RunProbe, Signal, Spawn
from anchor_supervisor.supervision.events import (
    RestartRequested,
    SpawnFailed,
    StartRequested,
    StopRequested,
)
from anchor_supervisor.supervision.states import State
from playbook import NEVER, PROBE, Playbook, anew, health, policy, service, the

DB, API, WEB = the("db"), the("api"), the("web")
RESTART: Final = Reaction(ReactionKind.RESTART)
HUP: Final = Reaction(ReactionKind.SIGNAL, "HUP")


def above(name: str, need: str, reaction: Reaction, condition: str = "started") -> Container:
    """Return a service that reacts to the restart of what it needs."""
    return evolve(service(name, {need: condition}), on_restart={need: reaction})


def chain(reaction: Reaction, db: Container | None = None) -> Playbook:
    """Return a database and a service above it, both up."""
    play = Playbook(db or service("db"), above("web", "db", reaction))
    play.start_all()
    return play


def crash(play: Playbook) -> list[Command]:
    """Let the database die."""
    return play.exits("db", 1)


def restart(play: Playbook) -> list[Command]:
    """Let an operator restart the database."""
    play.tell(RestartRequested(DB))
    return play.exits("db", 0)


def update(play: Playbook) -> list[Command]:
    """Let the database be made of something else."""
    play.change(anew(service("db")), above("web", "db", RESTART))
    return play.exits("db", 0)


@pytest.mark.parametrize("cause", [crash, restart, update])
def test_restart(cause: Callable[[Playbook], list[Command]]) -> None:
    """As soon as the dependency is down the dependent is stopped, and starts through its gates."""
    play = chain(RESTART)
    assert Signal(WEB, "TERM") in cause(play)
    play.exits("web", 0)
    if play.state("db") is State.BACKOFF:
        play.wait()
    assert play.state("web") is State.WAITING
    assert Spawn(WEB, 1) in play.up("db")


def test_restart_spreads() -> None:
    """From one to the next, as each goes down; what ignores it goes on."""
    play = Playbook(
        service("db"),
        above("api", "db", RESTART),
        above("web", "api", RESTART),
        service("cron", {"db": "started"}),
    )
    play.start_all()
    assert crash(play) == [Signal(API, "TERM")]
    assert play.exits("api", 0) == [Signal(WEB, "TERM")]
    play.exits("web", 0)
    assert play.wait() == [Spawn(DB, 2)]
    assert play.up("db") == [Spawn(API, 1)]
    assert play.up("api") == [Spawn(WEB, 1)]
    assert play.state("cron") is State.RUNNING


def test_giving_up_spreads_nothing() -> None:
    """A dependency that gives up for good leaves its dependents, until an operator starts it."""
    play = chain(RESTART, service("db", restart=NEVER))
    assert crash(play) == []
    assert play.state("web") is State.RUNNING
    assert Signal(WEB, "TERM") in play.tell(StartRequested(DB))


def test_signal_waits_for_the_condition() -> None:
    """The signal comes when the dependency is again what it must be, and comes once."""
    play = Playbook(service("db", check=health()), above("web", "db", HUP, "healthy"))
    play.start_all()
    play.settle(play.probed("db", 1, ok=True))
    assert crash(play) == []
    assert play.wait() == [Spawn(DB, 2)]
    assert play.up("db") == [RunProbe(DB, 2, PROBE, 2.0)]
    assert play.probed("db", 2, ok=True) == [Signal(WEB, "HUP")]
    assert play.status("web").started_at == 0.0
    play.wait()
    assert play.probed("db", 3, ok=True) == []


def test_signal_is_for_the_run_that_saw_the_old_one() -> None:
    """A dependent that has been started again in the meantime needs no signal."""
    play = chain(HUP)
    crash(play)
    play.exits("web", 1)
    play.now = 0.5
    play.tell(StopRequested(WEB))
    play.wait()
    assert play.up("db") == []


def test_failed_attempts_are_one_restart() -> None:
    """However often the dependency tries, the dependent that waits is not stopped again."""
    play = chain(RESTART, service("db", restart=policy(delay=1.0)))
    crash(play)
    play.exits("web", 0)
    for _ in range(3):
        play.wait()
        play.up("db")
        assert play.state("web") is State.STARTING
        play.up("web")
        assert crash(play) == [Signal(WEB, "TERM")]
        play.exits("web", 0)


def test_edge_of_the_new_file() -> None:
    """A reaction that the file no longer asks for is not made good."""
    play = chain(HUP)
    crash(play)
    play.change(service("db"), service("web", {"db": "started"}))
    play.wait()
    assert play.up("db") == []


def test_nobody_depends_on_an_additional_replica() -> None:
    """What an update makes for its own sake may crash without anybody hearing of it."""
    db = evolve(service("db"), update=UpdatePolicy(order=UpdateOrder.START_FIRST))
    play = chain(RESTART, db)
    play.change(anew(db), above("web", "db", RESTART))
    play.up("db.2")
    play.exits("db.2", 1)
    assert play.state("web") is State.RUNNING


def test_replica_that_never_ran_is_no_restart() -> None:
    """A new replica that fails, and is made into what the others are, disturbs nobody."""
    db = evolve(service("db"), update=UpdatePolicy(on_failure=OnUpdateFailure.ROLLBACK))
    play = chain(RESTART, db)
    play.change(evolve(anew(db), replicas=2), above("web", "db", RESTART))
    play.tell(SpawnFailed(the("db.2"), "not there", permanent=True))
    assert play.state("db.2") is State.STARTING
    assert play.state("web") is State.RUNNING
