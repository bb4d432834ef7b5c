"""The stop of one instance: its moments and its words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anchor_supervisor.fleet.model import StopPolicy
from anchor_supervisor.supervision.stop import Sequel, Stop


def test_signal_then_kills_that_grow_apart() -> None:
    """The grace comes first, then kills at doubling distances up to about a minute."""
    stop = Stop(StopPolicy("QUIT", 2.5))
    stop.begin(Sequel.STOPPED, "stop requested")
    assert stop.asks_first
    assert stop.ask(100.0) == "QUIT"
    assert stop.kill_at == 102.5
    assert stop.kill(102.5) == "stop requested, killed after 2s500ms of grace"
    moments = [stop.kill_at]
    for _ in range(8):
        stop.kill(moments[-1])
        moments.append(stop.kill_at)
    assert [after - before for before, after in pairwise(moments)] == [2, 4, 8, 16, 32, 64, 64, 64]


@pytest.mark.parametrize(("grace", "merciless"), [(0.0, False), (10.0, True)])
def test_no_grace_no_question(grace: float, merciless: bool) -> None:
    """Without grace, by policy or by request, the kill comes first."""
    stop = Stop(StopPolicy("TERM", grace))
    stop.merciless = merciless
    stop.begin(Sequel.STOPPED, "stop requested")
    assert not stop.asks_first


def test_each_stop_begins_anew() -> None:
    """Kills of an earlier stop are not held against the next one."""
    stop = Stop(StopPolicy())
    stop.begin(Sequel.START, "restart requested")
    stop.kill(0.0)
    stop.begin(Sequel.STOPPED, "stop requested")
    assert (stop.kills, stop.kill_at) == (0, None)
    assert stop.kill(0.0) == "stop requested, killed after 10s of grace"
