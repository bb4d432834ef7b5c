"""Shapes: what a change asks of an instance, by what differs and by what it is doing."""

from __future__ import annotations

import pytest
from attrs import evolve

from anchor_supervisor.fleet.model import (
    Container,
    Grant,
    GrantKind,
    Image,
    ImageKind,
    Limits,
    Pull,
    Reaction,
    ReactionKind,
)
from anchor_supervisor.supervision.commands import (
    Command,
    FleetReady,
    Refresh,
    Reshape,
    RunProbe,
    Spawn,
)
from anchor_supervisor.supervision.events import SpawnFailed, StartRequested, StopRequested
from anchor_supervisor.supervision.states import State
from playbook import NEVER, PROBE, Playbook, anew, health, job, service, the

WEB = the("web")
TOLD = Reaction(ReactionKind.SIGNAL, "HUP")


def grant(container: Container, content: bytes) -> Container:
    """Return the container with this content in its secret."""
    return evolve(container, grants=(Grant(GrantKind.SECRET, "key", "/run/secrets/key", content),))


def test_what_is_of_no_consequence_is_taken_over_in_silence() -> None:
    """No command goes out, and the run is the same; the next start is told first."""
    web = service("web")
    play = Playbook(web)
    play.start_all()
    later = evolve(web, pull=Pull.ALWAYS)
    assert play.change(later) == []
    assert play.made_of("web") == later
    assert play.status("web").started_at == 0.0
    assert play.exits("web", 1) == [Reshape(WEB, later, fresh=False)]
    assert play.wait() == [Spawn(WEB, 2)]


def test_live() -> None:
    """Limits and policies are taken over while it runs, and the runtime is told once."""
    web = service("web")
    play = Playbook(web)
    play.start_all()
    later = evolve(web, limits=Limits(pids=7), restart=NEVER)
    assert play.change(later) == [Refresh(WEB, later)]
    assert play.status("web").pid == 4000
    assert play.change(later) == []
    assert play.exits("web", 1) == []
    assert play.state("web") is State.FAILED


def test_live_health_is_asked_at_once() -> None:
    """A health check that is new is asked by the call that brings it."""
    web = service("web")
    play = Playbook(web)
    play.start_all()
    later = evolve(web, health=health())
    assert play.change(later) == [Refresh(WEB, later), RunProbe(WEB, 1, PROBE, 2.0)]


def test_signal() -> None:
    """Content that changed is brought in, and the container is told, once."""
    web = evolve(grant(service("web"), b"old"), on_change=TOLD)
    play = Playbook(web)
    play.start_all()
    later = grant(web, b"new")
    assert play.change(later) == [Refresh(WEB, later, "HUP")]
    assert play.change(later) == []


def test_ignored_content_is_for_the_next_start() -> None:
    """Content whose change is ignored reaches the container when it is started again."""
    web = evolve(grant(service("web"), b"old"), on_change=Reaction(ReactionKind.IGNORE))
    play = Playbook(web)
    play.start_all()
    later = grant(web, b"new")
    assert play.change(later) == []
    assert play.exits("web", 1) == [Reshape(WEB, later, fresh=False)]


def test_start_under_way_hears_afterwards() -> None:
    """What changes while it starts is brought in once it runs: a signal is not lost."""
    web = evolve(grant(service("web"), b"old"), on_change=TOLD)
    play = Playbook(web)
    play.start()
    later = grant(web, b"new")
    last = evolve(later, limits=Limits(pids=7))
    assert play.change(later) == []
    assert play.change(last) == []
    assert play.up("web")[-1] == Refresh(WEB, last, "HUP")
    assert play.change(last) == []


def test_start_under_way_that_fails_is_told_before_the_next() -> None:
    """Where nothing came of the start there is nothing to refresh, but the next to reshape."""
    web = service("web")
    play = Playbook(web)
    play.start()
    later = evolve(web, limits=Limits(pids=7))
    assert play.change(later) == []
    assert play.tell(SpawnFailed(WEB, "no room")) == [Reshape(WEB, later, fresh=False)]
    assert play.wait() == [Spawn(WEB, 2)]
    assert play.up("web") == [FleetReady()]


@pytest.mark.parametrize(
    ("later", "fresh"),
    [
        (anew(service("web")), False),
        (evolve(service("web"), image=Image(ImageKind.DIRECTORY, "/srv")), True),
    ],
)
def test_restart_and_recreate(later: Container, fresh: bool) -> None:
    """A change that needs a new run stops it, says what it is made of, and starts it."""
    play = Playbook(service("web"))
    play.start_all()
    assert [type(command).__name__ for command in play.change(later)] == ["Signal"]
    assert play.exits("web", 0) == [Reshape(WEB, later, fresh=fresh), Spawn(WEB, 1)]


def test_operators_wish_is_respected() -> None:
    """What an operator stopped stays down, and is made of the new value when it is started."""
    web = service("web")
    play = Playbook(web)
    play.start_all()
    play.tell(StopRequested(WEB))
    play.exits("web", 0)
    later = anew(web)
    commands = play.change(later)
    assert commands[0] == Reshape(WEB, later, fresh=False)
    assert play.state("web") is State.STOPPED
    assert play.core.updates["web"].result == "done"
    assert play.change(later) == []
    assert play.tell(StartRequested(WEB)) == [Spawn(WEB, 1)]


def test_freshness_is_not_forgotten() -> None:
    """A second change before the next start does not keep what the first one wanted given back."""
    web = service("web")
    play = Playbook(web)
    play.start_all()
    play.tell(StopRequested(WEB))
    play.exits("web", 0)
    other = evolve(web, image=Image(ImageKind.DIRECTORY, "/srv"))
    play.change(other)
    commands: list[Command] = play.change(anew(other))
    assert commands[0] == Reshape(WEB, anew(other), fresh=True)
    play.tell(StartRequested(WEB))
    play.up("web")
    play.tell(StopRequested(WEB))
    play.exits("web", 0)
    assert play.change(anew(other, "serve"))[0] == Reshape(WEB, anew(other, "serve"), fresh=False)


@pytest.mark.parametrize(
    ("later", "runs_again"),
    [(anew(job("load")), True), (evolve(job("load"), limits=Limits(pids=7)), False)],
)
def test_job_that_is_done(later: Container, runs_again: bool) -> None:
    """A job runs again where what it does has changed, and not for its limits."""
    play = Playbook(job("load"), service("web"))
    play.start_all()
    play.exits("load", 0)
    assert play.change(job("load"), service("web")) == []
    commands = play.change(later, service("web"))
    assert commands[0] == Reshape(the("load"), later, fresh=False)
    assert (Spawn(the("load"), 1) in commands) == runs_again
    assert play.change(later, service("web")) == []
