"""Health: when a container is probed, and what the answers change."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Health, OnUnhealthy
from anchor_supervisor.supervision.commands import CancelProbe, Command, RunProbe, Signal, Spawn
from anchor_supervisor.supervision.events import FleetStopRequested, StopRequested
from anchor_supervisor.supervision.health import KEPT_OUTPUT, HealthCheck
from anchor_supervisor.supervision.states import HealthState, State
from playbook import NEVER, PROBE, Playbook, health, policy, service, the
from strategies import health_policies

WEB = the("web")


def probe(number: int) -> RunProbe:
    """Return the command to probe `web`."""
    return RunProbe(WEB, number, PROBE, 2.0)


def running(check: Health) -> Playbook:
    """Tell the story up to the first probe."""
    play = Playbook(service("web", check=check))
    play.start()
    assert play.up("web") == [probe(1)]
    return play


def fail(play: Playbook, number: int) -> list[Command]:
    """Fail this probe and wait for the next, if one is due before anything else."""
    play.probed("web", number, ok=False)
    return play.wait()


def test_first_probe_is_immediate() -> None:
    """The first probe goes out with the news that the container runs."""
    play = running(health())
    assert play.health("web") is HealthState.STARTING
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.HEALTHY


def test_probes_grow_apart_until_the_first_success() -> None:
    """Before the first success by 50 ms, later by a tenth of the time; after it by `interval`."""
    play = running(health(interval=5.0))
    began = play.now
    moments = []
    for number in range(1, 14):
        assert fail(play, number) == [probe(number + 1)]
        moments.append(play.now - began)
    quick, later = moments[:10], moments[10:]
    assert quick == pytest.approx([0.05 * number for number in range(1, 11)])
    assert later == pytest.approx([0.55, 0.605, 0.6655])
    play.probed("web", 14, ok=True)
    assert play.core.next_deadline() == play.now + 5.0


def test_quick_looks_do_not_condemn_a_slow_starter() -> None:
    """Before the first success only one failure an `interval` counts, so 3 retries last 3."""
    play = running(health(interval=5.0, retries=3))
    number = 1
    while play.state("web") is State.RUNNING:
        fail(play, number)
        number += 1
        assert play.now <= 25.0
    assert play.reports[-1].reason.startswith("unhealthy: 3 probes failed in a row")
    assert play.reports[-1].state is State.STOPPING
    unhealthy_at = play.status("web").since
    assert unhealthy_at is not None
    assert unhealthy_at >= 15.0


def test_start_period_does_not_count() -> None:
    """Failures within `start_period` are forgiven."""
    play = running(health(interval=0.05, retries=1, start_period=10.0))
    number = 1
    while play.now < 9.9:
        assert fail(play, number) == [probe(number + 1)]
        number += 1
    assert play.status("web").probe_failures == 0
    assert play.health("web") is HealthState.STARTING


def test_retries_failures_in_a_row() -> None:
    """A success between failures starts the count afresh."""
    play = running(health(retries=2, on_failure=OnUnhealthy.NONE))
    for number, ok in enumerate([True, False, True, False], start=1):
        play.probed("web", number, ok=ok)
        play.wait()
    assert play.health("web") is HealthState.HEALTHY
    play.probed("web", 5, ok=False)
    assert play.health("web") is HealthState.UNHEALTHY
    assert play.reason("web") == "unhealthy: 2 probes failed in a row"


def sick(on_failure: OnUnhealthy, **more: object) -> tuple[Playbook, list[Command]]:
    """Tell the story until the container is unhealthy; return it and what was commanded then."""
    play = Playbook(
        service("web", check=health(retries=1, on_failure=on_failure), **more)  # type: ignore[arg-type]
    )
    play.start()
    play.up("web")
    play.probed("web", 1, ok=True)
    play.wait()
    return play, play.probed("web", 2, ok=False)


def test_unhealthy_restarts() -> None:
    """`restart`: it is stopped with grace, and that counts as a failure even if it exits 0."""
    play, commands = sick(OnUnhealthy.RESTART)
    assert commands == [Signal(WEB, "TERM")]
    assert play.exits("web", 0) == []
    assert play.state("web") is State.BACKOFF
    assert play.reason("web") == "unhealthy: 1 probe failed in a row, exited (0)"
    assert play.wait() == [Spawn(WEB, 2)]


def test_unhealthy_restarts_are_counted() -> None:
    """A container that stays unhealthy gives up like one that crashes."""
    play, _ = sick(OnUnhealthy.RESTART, restart=policy(most=0))
    play.exits("web", signal=15)
    assert play.state("web") is State.FAILED
    assert play.reason("web") == (
        "gave up: 0 restarts within 10m, last unhealthy: 1 probe failed in a row"
    )


def test_unhealthy_without_restarts_is_left_running() -> None:
    """Where the policy would not start it again, an unhealthy container is not taken down."""
    play, commands = sick(OnUnhealthy.RESTART, restart=NEVER)
    assert commands == []
    assert (play.state("web"), play.health("web")) == (State.RUNNING, HealthState.UNHEALTHY)


def test_unhealthy_stops() -> None:
    """`stop`: it is stopped for good, and that is a failure."""
    play, commands = sick(OnUnhealthy.STOP)
    assert commands == [Signal(WEB, "TERM")]
    play.exits("web", 0)
    assert play.state("web") is State.FAILED
    assert play.reason("web") == "stopped: unhealthy: 1 probe failed in a row, exited (0)"


def test_unhealthy_may_recover() -> None:
    """`none`: it goes on being probed, and a success makes it healthy again."""
    play, commands = sick(OnUnhealthy.NONE)
    assert commands == []
    assert play.health("web") is HealthState.UNHEALTHY
    assert play.wait() == [probe(3)]
    play.probed("web", 3, ok=True)
    assert play.health("web") is HealthState.HEALTHY


def test_probe_without_answer_fails() -> None:
    """A probe that nobody answers within its timeout and a second is given up as failed."""
    play = running(health(retries=1, on_failure=OnUnhealthy.NONE))
    play.probed("web", 1, ok=True)
    assert play.wait() == [probe(2)]
    began = play.now
    assert play.wait() == [CancelProbe(WEB)]
    assert play.now == began + 3.0
    assert play.health("web") is HealthState.UNHEALTHY
    assert play.status("web").probes[-1].output == "the probe gave no answer"


def test_old_answers_are_ignored() -> None:
    """An answer with another number, or one that comes twice, changes nothing."""
    play = running(health())
    play.probed("web", 0, ok=True)
    assert play.health("web") is HealthState.STARTING
    play.probed("web", 1, ok=False)
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.STARTING


def test_answer_of_an_earlier_run_is_ignored() -> None:
    """Probe numbers go on over restarts, so that the past cannot vouch for the present."""
    play = running(health())
    assert play.exits("web", 1) == [CancelProbe(WEB)]
    assert play.health("web") is HealthState.NONE
    play.wait()
    assert play.up("web") == [probe(2)]
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.STARTING


def test_stop_cancels_the_probe() -> None:
    """What is being stopped is not probed any more."""
    play = running(health())
    assert play.tell(StopRequested(WEB)) == [CancelProbe(WEB), Signal(WEB, "TERM")]
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.STARTING


def test_fleet_stop_disarms_the_next_probe() -> None:
    """While the fleet goes down nothing is probed, nor is anything woken for it."""
    play = Playbook(service("db", check=health(interval=1.0)), service("web", {"db": "healthy"}))
    play.start()
    play.up("db")
    play.probed("db", 1, ok=True)
    play.up("web")
    assert play.tell(FleetStopRequested()) == [Signal(WEB, "TERM")]
    assert play.core.next_deadline() == play.now + 10.0


def test_last_answers_are_kept() -> None:
    """The last three answers are there to be read, also after the run, at a bounded size."""
    play = running(health())
    for number in range(1, 5):
        fail(play, number)
    play.exits("web", 1)
    assert [result.output for result in play.status("web").probes] == ["refused"] * 3
    check = HealthCheck(health())
    check.begin(0.0)
    check.ask(0.0)
    check.answer(1.0, ok=False, output="x" * 10**6 + "the error")
    assert len(check.results[0].output) == KEPT_OUTPUT
    assert check.results[0].output.endswith("the error")


def test_answer_without_question_is_our_bug() -> None:
    """The check is never told an answer that it did not ask for."""
    with pytest.raises(SupervisionBug, match="no probe was under way"):
        HealthCheck(health()).answer(0.0, ok=True, output="")


@given(policy=health_policies, answers=st.lists(st.booleans(), max_size=200))
def test_rhythm(policy: Health, answers: list[bool]) -> None:
    """A probe never comes earlier than 50 ms after an answer, nor later than `interval`."""
    check = HealthCheck(evolve(policy, probe=PROBE))
    now = 0.0
    check.begin(now)
    for ok in answers:
        check.ask(now)
        check.answer(now, ok=ok, output="")
        due = check.deadline()
        assert due is not None
        assert 0 < due - now <= policy.interval + 1e-6
        if check.state is HealthState.UNHEALTHY:
            assert check.failures >= policy.retries
        now = due
