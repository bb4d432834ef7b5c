"""Probes of a start, probes that are asked once, and checks that are changed during a run."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import (
    Container,
    ExecProbe,
    Health,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    Probe,
    Startup,
)
from anchor_supervisor.supervision.commands import CancelProbe, RunProbe, Signal
from anchor_supervisor.supervision.health import HealthCheck, Turn
from anchor_supervisor.supervision.states import HealthState, State
from playbook import PROBE, Playbook, health, service, the
from strategies import health_policies, startup_policies

WEB = the("web")
SEEN = LogProbe("listening")
BOOTED = ExecProbe(("booted",))


def starting(startup: Startup, check: Health | None = None) -> Playbook:
    """Tell the story up to the first probe of the start."""
    play = Playbook(evolve(service("web", check=check), startup=startup))
    play.start()
    assert play.up("web") == [RunProbe(WEB, 1, startup.probe, startup.timeout)]
    return play


def waiting_for(probe: Probe, *, retries: int = 3, start_period: float = 0.0) -> Container:
    """Make a service that is healthy once something has been seen; a wait takes 2 s at most."""
    check = Health(probe, timeout=2.0, retries=retries, start_period=start_period)
    return service("web", check=check)


def test_health_begins_when_the_start_is_over() -> None:
    """`startup` is asked until it succeeds; then `health`, at once and with quick looks again."""
    play = starting(Startup(BOOTED), health(interval=5.0))
    for number in range(2, 9):
        play.probed("web", number - 1, ok=False)
        assert play.wait() == [RunProbe(WEB, number, BOOTED, 5.0)]
    assert play.now == pytest.approx(0.35)
    assert play.probed("web", 8, ok=True) == [RunProbe(WEB, 9, PROBE, 2.0)]
    assert play.health("web") is HealthState.STARTING
    began = play.now
    play.probed("web", 9, ok=False)
    assert play.wait() == [RunProbe(WEB, 10, PROBE, 2.0)]
    assert play.now == pytest.approx(began + 0.05)
    play.probed("web", 10, ok=True)
    assert play.health("web") is HealthState.HEALTHY
    assert play.wait() == [RunProbe(WEB, 11, PROBE, 2.0)]


def test_startup_alone() -> None:
    """Without `health`, the success of `startup` is all that is ever asked."""
    play = starting(Startup(BOOTED))
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.HEALTHY
    assert play.core.next_deadline() is None
    assert play.exits("web", 1) == []
    play.wait()
    assert play.up("web") == [RunProbe(WEB, 2, BOOTED, 5.0)]
    assert play.health("web") is HealthState.STARTING


def test_start_that_never_ends() -> None:
    """After `retries` intervals of failures the start has failed, and it is restarted."""
    play = starting(Startup(BOOTED, interval=1.0, retries=3))
    number = 1
    while play.state("web") is State.RUNNING:
        commands = play.probed("web", number, ok=False)
        number += 1
        if play.state("web") is State.RUNNING:
            play.wait()
    assert commands == [Signal(WEB, "TERM")]
    assert 3.0 <= play.now <= 5.0
    assert play.reason("web") == "unhealthy: 3 probes failed in a row"


def test_late_start_is_forgiven() -> None:
    """Where nothing follows from it, an unhealthy start may still succeed, and health is asked."""
    play = starting(Startup(BOOTED, interval=1.0, retries=1), health(on_failure=OnUnhealthy.NONE))
    number = 1
    while play.health("web") is not HealthState.UNHEALTHY:
        play.probed("web", number, ok=False)
        play.wait()
        number += 1
    assert play.probed("web", number, ok=True) == [RunProbe(WEB, number + 1, PROBE, 2.0)]
    assert play.health("web") is HealthState.STARTING
    assert play.reason("web") == "it has started up: its health is asked for"


@pytest.mark.parametrize("probe", [SEEN, NotifyProbe()])
def test_asked_once(probe: Probe) -> None:
    """A probe that waits is asked once, and after its success nobody wakes up for it."""
    play = Playbook(waiting_for(probe))
    play.start()
    assert play.up("web") == [RunProbe(WEB, 1, probe, 2.0)]
    play.now = 1.5
    play.probed("web", 1, ok=True)
    assert play.health("web") is HealthState.HEALTHY
    assert play.core.next_deadline() is None


def test_asked_again_when_its_time_is_over() -> None:
    """A wait that was in vain is followed by the next at once, and has failed: no quick look."""
    play = Playbook(waiting_for(SEEN, retries=3))
    play.start()
    play.up("web")
    for number in (1, 2):
        play.now += 2.0
        again = [RunProbe(WEB, number + 1, SEEN, 2.0)]
        assert play.probed("web", number, ok=False) == again
        assert play.status("web").probe_failures == number
    play.now += 2.0
    play.probed("web", 3, ok=False)
    assert play.reason("web") == "unhealthy: 3 probes failed in a row"
    assert play.now == 6.0


def test_wait_within_the_start_period_is_forgiven() -> None:
    """As any other failure; the one that is over after it counts."""
    play = Playbook(waiting_for(SEEN, start_period=5.0))
    play.start()
    play.up("web")
    counted = []
    for number in range(1, 5):
        play.now += 2.0
        play.probed("web", number, ok=False)
        counted.append(play.status("web").probe_failures)
    assert counted == [0, 0, 1, 2]


def test_wait_that_fails_at_once_is_not_asked_in_a_circle() -> None:
    """What cannot even be waited for is looked at with growing pauses, like anything else."""
    play = Playbook(waiting_for(SEEN))
    play.start()
    play.up("web")
    began = play.now
    moments = []
    for number in range(1, 14):
        assert play.probed("web", number, ok=False) == []
        assert play.wait() == [RunProbe(WEB, number + 1, SEEN, 2.0)]
        moments.append(play.now - began)
    assert moments[:10] == pytest.approx([0.05 * number for number in range(1, 11)])
    assert moments[10:] == pytest.approx([0.55, 0.605, 0.6655])


def test_startup_that_is_asked_once() -> None:
    """A line of output begins the health check, which may be another line."""
    play = starting(Startup(SEEN), Health(NotifyProbe(), timeout=2.0))
    assert play.probed("web", 1, ok=True) == [RunProbe(WEB, 2, NotifyProbe(), 2.0)]
    play.probed("web", 2, ok=True)
    assert play.health("web") is HealthState.HEALTHY
    assert play.core.next_deadline() is None


def test_status_tells_what_is_asked() -> None:
    """The probe whose turn it is, whose table it is, and how many failures it may have."""
    play = starting(Startup(BOOTED), health(retries=3))
    asked = play.status("web").probing
    assert asked is not None
    assert (asked.probe, asked.startup, asked.retries) == (BOOTED, True, 30)
    play.probed("web", 1, ok=True)
    asked = play.status("web").probing
    assert asked is not None
    assert (asked.probe, asked.startup, asked.retries) == (PROBE, False, 3)
    assert Playbook(service("web")).status("web").probing is None


HEALTHY = health(interval=5.0)
START = Startup(BOOTED)


def checked(startup: Startup | None, check: Health | None, answers: int) -> HealthCheck:
    """Make a check that has had so many good answers in this run, each after a second."""
    asked = HealthCheck(check, startup)
    asked.begin(0.0)
    for moment in range(answers):
        asked.ask(float(moment))
        asked.answer(moment + 1.0, ok=True, output="")
    return asked


@pytest.mark.parametrize(
    ("before", "answers", "after", "turn", "state"),
    [
        ((None, None), 0, (None, HEALTHY), Turn.HEALTH, HealthState.STARTING),
        ((None, None), 0, (START, HEALTHY), Turn.STARTUP, HealthState.STARTING),
        ((START, HEALTHY), 0, (None, HEALTHY), Turn.HEALTH, HealthState.STARTING),
        ((START, HEALTHY), 0, (Startup(SEEN), HEALTHY), Turn.STARTUP, HealthState.STARTING),
        ((START, HEALTHY), 0, (None, None), Turn.NONE, HealthState.NONE),
        ((START, HEALTHY), 2, (None, HEALTHY), Turn.HEALTH, HealthState.HEALTHY),
        ((START, HEALTHY), 2, (Startup(SEEN), HEALTHY), Turn.HEALTH, HealthState.HEALTHY),
        ((START, HEALTHY), 2, (START, health(interval=1.0)), Turn.HEALTH, HealthState.HEALTHY),
        ((START, HEALTHY), 2, (START, Health(SEEN)), Turn.HEALTH, HealthState.STARTING),
        ((START, HEALTHY), 2, (START, None), Turn.STARTUP, HealthState.HEALTHY),
        ((START, HEALTHY), 2, (Startup(SEEN), None), Turn.STARTUP, HealthState.STARTING),
        ((None, HEALTHY), 1, (START, HEALTHY), Turn.HEALTH, HealthState.HEALTHY),
        ((None, HEALTHY), 1, (START, None), Turn.STARTUP, HealthState.STARTING),
        ((None, HEALTHY), 1, (None, None), Turn.NONE, HealthState.NONE),
        ((START, None), 1, (START, HEALTHY), Turn.HEALTH, HealthState.STARTING),
        ((START, None), 1, (Startup(BOOTED, 9.0), None), Turn.STARTUP, HealthState.HEALTHY),
        ((START, None), 1, (Startup(SEEN), None), Turn.STARTUP, HealthState.STARTING),
        ((START, None), 1, (None, None), Turn.NONE, HealthState.NONE),
    ],
)
def test_changed_during_a_run(
    before: tuple[Startup | None, Health | None],
    answers: int,
    after: tuple[Startup | None, Health | None],
    turn: Turn,
    state: HealthState,
) -> None:
    """What a run has shown stays true where the probe is the same; a new probe is asked at once."""
    check = checked(*before, answers)
    assert not check.adopt(after[1], after[0], 4.0)
    assert (check.turn, check.state) == (turn, state)
    assert check.due(4.0) == (state is HealthState.STARTING)
    proven = (turn, state) == (Turn.STARTUP, HealthState.HEALTHY)
    assert (check.deadline() is None) == (proven or turn is Turn.NONE)


def test_probe_under_way_is_given_up_with_its_table() -> None:
    """A probe of a table that is gone must be cancelled; one whose table stays is waited for."""
    check = checked(None, HEALTHY, 0)
    number, _, _ = check.ask(0.0)
    assert not check.adopt(health(interval=1.0), None, 1.0)
    assert check.awaits(number)
    assert check.adopt(Health(SEEN), None, 1.0)
    assert not check.awaits(number)


def test_nothing_is_asked_of_what_does_not_run() -> None:
    """Between runs a change waits for the next one."""
    check = checked(None, HEALTHY, 1)
    check.forget()
    assert not check.adopt(Health(SEEN), START, 5.0)
    assert (check.state, check.deadline()) == (HealthState.NONE, None)
    check.begin(6.0)
    assert check.ask(6.0)[1] == BOOTED


def test_cancelled_by_a_change() -> None:
    """The command goes out before the new probe does."""
    play = starting(Startup(BOOTED))
    given_up, *_, asked = play.change(waiting_for(SEEN))
    assert (given_up, asked) == (CancelProbe(WEB), RunProbe(WEB, 2, SEEN, 2.0))


@given(
    startup=startup_policies,
    check=st.none() | health_policies,
    answers=st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=100),
)
def test_rhythm(startup: Startup, check: Health | None, answers: list[tuple[float, bool]]) -> None:
    """The next probe is never due before the answer, nor in a circle; one that is over is quiet."""
    asked = HealthCheck(check, startup)
    asked.begin(0.0)
    now = 0.0
    for took, ok in answers:
        table = asked.table
        assert table is not None
        asked.ask(now)
        answered = now + min(took, table.timeout)
        asked.answer(answered, ok=ok, output="")
        due = asked.deadline()
        if due is None:
            assert asked.state is HealthState.HEALTHY
            return
        turned = asked.table is not table
        assert due >= answered
        assert turned or due > now
        now = due
