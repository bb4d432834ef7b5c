"""The stop of one instance: its steps, its moments and its words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anchor_supervisor.fleet.model import StopPolicy
from anchor_supervisor.supervision.commands import Drain, Kill, RunStopCommand, Signal
from anchor_supervisor.supervision.stop import KEPT_OUTPUT, CommandResult, Sequel, Stage, Stop
from playbook import the

WEB = the("web")
COMMAND = ("pg_ctl", "stop")


def stop_of(policy: StopPolicy, *, drain: float = 0.0, merciless: bool = False) -> Stop:
    """Begin a stop that somebody asked for."""
    stop = Stop(WEB, policy)
    stop.merciless = merciless
    stop.begin(Sequel.STOPPED, "stop requested", drain)
    assert stop.due_at is None
    return stop


def test_signal_then_kills_that_grow_apart() -> None:
    """The grace comes first, then kills at doubling distances up to about a minute."""
    stop = stop_of(StopPolicy("QUIT", 2.5))
    assert stop.advance(100.0) == Signal(WEB, "QUIT")
    assert (stop.due_at, stop.told) == (102.5, "stop requested")
    assert stop.advance(102.5) == Kill(WEB)
    assert stop.told == "stop requested, killed after 2s500ms of grace"
    moments = [stop.due_at]
    for _ in range(8):
        assert moments[-1] is not None
        assert stop.advance(moments[-1]) == Kill(WEB)
        moments.append(stop.due_at)
    known = [moment for moment in moments if moment is not None]
    assert [after - before for before, after in pairwise(known)] == [2, 4, 8, 16, 32, 64, 64, 64]
    assert stop.told == "stop requested, killed 9 times, and the kernel has not let it go yet"


@pytest.mark.parametrize(("grace", "merciless"), [(0.0, False), (10.0, True)])
def test_no_grace_no_question(grace: float, merciless: bool) -> None:
    """Without grace, by policy or by request, the kill comes first, whatever else is set."""
    stop = stop_of(StopPolicy("TERM", grace, command=COMMAND), merciless=merciless)
    assert stop.advance(0.0) == Kill(WEB)
    assert stop.told == "stop requested, killed at once"


def test_each_stop_begins_anew() -> None:
    """Kills of an earlier stop are not held against the next one."""
    stop = stop_of(StopPolicy())
    stop.advance(0.0)
    stop.advance(10.0)
    stop.begin(Sequel.START, "restart requested")
    assert (stop.stage, stop.due_at) == (Stage.BEGUN, None)
    assert stop.advance(20.0) == Signal(WEB, "TERM")
    assert stop.advance(30.0) == Kill(WEB)
    assert stop.told == "restart requested, killed after 10s of grace"


def test_drain_comes_before_the_grace() -> None:
    """First nothing new is led to it; what follows is the usual stop, with all of its grace."""
    stop = stop_of(StopPolicy("TERM", 10.0), drain=3.0)
    assert stop.advance(0.0) == Drain(WEB)
    assert (stop.due_at, stop.told) == (3.0, "stop requested, drained for 3s first")
    assert stop.advance(3.0) == Signal(WEB, "TERM")
    assert (stop.due_at, stop.told) == (13.0, "stop requested")


@pytest.mark.parametrize(("ok", "words"), [(True, "has ended"), (False, "failed")])
def test_signal_follows_the_stop_command(ok: bool, words: str) -> None:
    """However the command ends, the signal follows at once, within the same grace."""
    stop = stop_of(StopPolicy("TERM", 10.0, command=COMMAND))
    assert stop.advance(0.0) == RunStopCommand(WEB, COMMAND, 10.0)
    assert (stop.due_at, stop.told) == (10.0, "stop requested, asked by its stop command")
    assert stop.command_finished(4.0, ok=ok, output="bye") == Signal(WEB, "TERM")
    assert (stop.due_at, stop.told) == (10.0, f"stop requested, its stop command {words}")
    assert stop.result == CommandResult(4.0, ok, "bye")
    assert stop.advance(10.0) == Kill(WEB)
    assert stop.told == "stop requested, killed after 10s of grace"


def test_kill_does_not_wait_for_the_stop_command() -> None:
    """A command that does not end uses up the grace, and is named; its answer comes too late."""
    stop = stop_of(StopPolicy("TERM", 10.0, command=COMMAND))
    stop.advance(0.0)
    assert stop.advance(10.0) == Kill(WEB)
    assert stop.told == (
        "stop requested, killed after 10s of grace, within which its stop command did not end"
    )
    assert stop.command_finished(10.0, ok=False, output="no end within 10s") is None
    assert stop.result is None


def test_output_of_the_stop_command_is_bounded() -> None:
    """The end of what it said is kept, where the error is."""
    stop = stop_of(StopPolicy(command=COMMAND))
    stop.advance(0.0)
    stop.command_finished(1.0, ok=False, output="x" * 10**6 + "the error")
    assert stop.result is not None
    assert len(stop.result.output) == KEPT_OUTPUT
    assert stop.result.output.endswith("the error")


def test_policy_may_change_while_it_goes() -> None:
    """A grace that has begun stays as it was; the signal that is still to come is the new one."""
    stop = stop_of(StopPolicy("TERM", 10.0, command=COMMAND))
    stop.advance(0.0)
    stop.policy = StopPolicy("QUIT", 1.0)
    assert stop.command_finished(2.0, ok=True, output="") == Signal(WEB, "QUIT")
    assert stop.due_at == 10.0
    stop.advance(10.0)
    assert stop.told == "stop requested, killed after 10s of grace"
