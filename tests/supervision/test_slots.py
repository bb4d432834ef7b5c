"""Slots: at most `parallel` starts at a time, and the next one in the same turn."""

from __future__ import annotations

from anchor_supervisor.supervision.commands import Spawn
from anchor_supervisor.supervision.events import SpawnFailed, StopRequested
from anchor_supervisor.supervision.states import State
from playbook import Playbook, service, the

NAMES = ("a", "b", "c", "d")


def test_as_many_as_may() -> None:
    """The first ones start; whenever one of them has started, the next does."""
    play = Playbook(*map(service, NAMES), parallel=2)
    assert play.start() == [Spawn(the("a"), 1), Spawn(the("b"), 1)]
    assert play.state("c") is State.WAITING
    assert play.reason("c") == "waiting for one of `2` starts at a time"
    assert play.status("c").next == "starts once another has started"
    assert play.up("b") == [Spawn(the("c"), 1)]
    assert play.tell(SpawnFailed(the("a"), "no room")) == [Spawn(the("d"), 1)]


def test_without_a_limit_all_at_once() -> None:
    """No limit, no queue."""
    assert len(Playbook(*map(service, NAMES)).start()) == len(NAMES)


def test_next_attempt_queues_as_well() -> None:
    """A restart whose time has come waits for a place like everybody."""
    play = Playbook(*map(service, NAMES[:2]), parallel=1)
    play.start()
    play.up("a")
    play.exits("a", 1)
    play.now = 1.0
    assert play.wait() == []
    assert play.state("a") is State.WAITING
    assert play.up("b") == [Spawn(the("a"), 2)]


def test_place_of_one_that_is_not_wanted_any_more() -> None:
    """One that is stopped while it waits gives its turn to the next."""
    play = Playbook(*map(service, NAMES[:3]), parallel=1)
    play.start()
    play.tell(StopRequested(the("b")))
    assert play.up("a") == [Spawn(the("c"), 1)]


def test_gate_that_closes_in_the_queue() -> None:
    """Its turn is no leave to start: the gate is looked at again, and the turn is passed on."""
    play = Playbook(
        service("a"),
        service("b"),
        service("c", {"a": "started"}),
        service("d"),
        parallel=1,
    )
    play.start()
    assert play.up("a") == [Spawn(the("b"), 1)]
    play.exits("a", 1)
    assert play.up("b") == [Spawn(the("d"), 1)]
    assert play.reason("c") == "waiting for `a` to be started (a is between attempts)"


def test_limit_changes() -> None:
    """A greater limit starts at once what it allows."""
    play = Playbook(*map(service, NAMES), parallel=1)
    play.start()
    assert play.change(*map(service, NAMES), parallel=3) == [Spawn(the("b"), 1), Spawn(the("c"), 1)]
    assert play.change(*map(service, NAMES)) == [Spawn(the("d"), 1)]
