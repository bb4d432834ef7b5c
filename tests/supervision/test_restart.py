"""The restart policy: when a run that ended is tried again, and when it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import RestartPolicy, RestartWhen
from anchor_supervisor.supervision.commands import Spawn
from anchor_supervisor.supervision.events import SpawnFailed, StartRequested
from anchor_supervisor.supervision.restart import KEPT, Ledger
from anchor_supervisor.supervision.states import State
from playbook import Playbook, job, policy, service, the
from strategies import restart_policies

WEB = the("web")


@pytest.mark.parametrize(
    ("when", "code", "state"),
    [
        (RestartWhen.NO, 0, State.STOPPED),
        (RestartWhen.NO, 1, State.FAILED),
        (RestartWhen.ON_FAILURE, 0, State.STOPPED),
        (RestartWhen.ON_FAILURE, 1, State.BACKOFF),
        (RestartWhen.ALWAYS, 0, State.BACKOFF),
        (RestartWhen.ALWAYS, 1, State.BACKOFF),
    ],
)
def test_service_that_ends(when: RestartWhen, code: int, state: State) -> None:
    """A service that ends by itself follows `when`."""
    play = Playbook(service("web", restart=policy(when)))
    play.start()
    play.up("web")
    assert play.exits("web", code) == []
    assert play.state("web") is state
    assert f"exited ({code})" in play.reason("web")


@pytest.mark.parametrize(
    ("when", "code", "state"),
    [
        (RestartWhen.NO, 0, State.COMPLETED),
        (RestartWhen.NO, 1, State.FAILED),
        (RestartWhen.ON_FAILURE, 0, State.COMPLETED),
        (RestartWhen.ON_FAILURE, 1, State.BACKOFF),
        (RestartWhen.ALWAYS, 0, State.COMPLETED),
        (RestartWhen.ALWAYS, 1, State.BACKOFF),
    ],
)
def test_job_that_ends(when: RestartWhen, code: int, state: State) -> None:
    """A job that exits 0 is done whatever the policy; otherwise it follows `when`."""
    play = Playbook(service("other"), job("load", restart=policy(when)))
    play.start()
    play.up("load")
    play.exits("load", code)
    assert play.state("load") is state


def test_backoff_grows_to_its_cap() -> None:
    """Each failed run doubles the wait until `max_delay`, and `next_at` tells when."""
    restart = RestartPolicy(delay=1.0, factor=2.0, max_delay=5.0, jitter=0.0)
    play = Playbook(service("web", restart=restart))
    play.start()
    waits = []
    for attempt in range(2, 7):
        play.up("web")
        play.exits("web", 1)
        began = play.now
        assert play.status("web").next_at == play.core.next_deadline()
        assert play.wait() == [Spawn(WEB, attempt)]
        waits.append(play.now - began)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_good_run_is_followed_at_once() -> None:
    """After a run of `reset_after` there is no wait, and then the first one again."""
    play = Playbook(service("web", restart=RestartPolicy(delay=1.0, jitter=0.0, reset_after=10.0)))
    play.start()
    for _ in range(4):
        play.up("web")
        play.exits("web", 1)
        play.wait()
    play.up("web")
    play.now += 10.0
    assert play.exits("web", 1) == [Spawn(WEB, 6)]
    assert (play.status("web").streak, play.status("web").attempts_in_window) == (0, 5)
    play.up("web")
    play.exits("web", 1)
    assert play.core.next_deadline() == play.now + 1.0
    assert play.status("web").streak == 1


def test_good_run_counts_against_max() -> None:
    """A restart at once is one of the `max` in the window like any other."""
    play = Playbook(service("web", restart=policy(most=1)))
    play.start()
    for commands in ([Spawn(WEB, 2)], []):
        play.up("web")
        play.now += 10.0
        assert play.exits("web", 1) == commands
    assert play.reason("web") == "gave up: 1 restart within 10m, last exit 1"


def test_failed_start_is_no_good_run() -> None:
    """What could not be started is not tried again at once, even where every run is a good one."""
    play = Playbook(service("web", restart=RestartPolicy(delay=1.0, jitter=0.0, reset_after=0.0)))
    play.start()
    assert play.tell(SpawnFailed(WEB, "no memory")) == []
    assert play.core.next_deadline() == 1.0


@pytest.mark.parametrize(
    ("when", "code", "signal", "state", "why"),
    [
        (RestartWhen.ON_FAILURE, 75, None, State.BACKOFF, "exited (75)"),
        (RestartWhen.ON_FAILURE, None, 9, State.BACKOFF, "killed by SIGKILL"),
        (
            RestartWhen.ON_FAILURE,
            1,
            None,
            State.FAILED,
            "exited (1), policy on-failure, but not after exit code 1",
        ),
        (
            RestartWhen.ALWAYS,
            0,
            None,
            State.STOPPED,
            "exited (0), policy always, but not after exit code 0",
        ),
        (
            RestartWhen.ALWAYS,
            2,
            None,
            State.FAILED,
            "exited (2), policy always, but never after exit code 2",
        ),
        (
            RestartWhen.ON_FAILURE,
            None,
            15,
            State.FAILED,
            "killed by SIGTERM, policy on-failure, but never after exit code 143",
        ),
        (RestartWhen.NO, 75, None, State.FAILED, "exited (75), policy no"),
        (RestartWhen.ON_FAILURE, None, None, State.BACKOFF, "ended (nobody saw how)"),
    ],
)
def test_exit_codes(
    when: RestartWhen, code: int | None, signal: int | None, state: State, why: str
) -> None:
    """Only listed codes are followed by a restart, never the excluded ones; a signal is 128 + N."""
    restart = RestartPolicy(
        when=when,
        delay=1.0,
        jitter=0.0,
        on_exit_codes=frozenset({2, 75, 137}),
        never_on_exit_codes=frozenset({2, 143}),
    )
    play = Playbook(service("web", restart=restart))
    play.start()
    play.up("web")
    play.exits("web", code, signal)
    assert (play.state("web"), play.reason("web")) == (state, why)


def test_no_delay_restarts_at_once() -> None:
    """With `delay = 0` the next run is commanded by the call that heard of the end."""
    play = Playbook(service("web", restart=policy(delay=0.0)))
    play.start()
    play.up("web")
    assert play.exits("web", 1) == [Spawn(WEB, 2)]
    assert [report.state for report in play.reports[-2:]] == [State.BACKOFF, State.STARTING]


def test_gives_up_after_max_in_window() -> None:
    """The failure after `max` restarts within the window is the last, and says so."""
    play = Playbook(service("web", restart=policy(most=2)))
    play.start()
    for _ in range(2):
        play.up("web")
        play.exits("web", 1)
        play.wait()
    play.up("web")
    assert play.exits("web", 1) == []
    assert play.state("web") is State.FAILED
    assert play.reason("web") == "gave up: 2 restarts within 10m, last exit 1"
    assert play.core.next_deadline() is None


def test_window_slides() -> None:
    """Restarts that are older than the window are not held against a container."""
    play = Playbook(service("web", restart=policy(most=1)))
    play.start()
    for _ in range(5):
        play.up("web")
        play.exits("web", 1)
        play.wait()
        assert play.status("web").attempts_in_window == 1
        play.now += 600.0
        assert play.status("web").attempts_in_window == 0


def test_spawn_failure_counts_as_a_run() -> None:
    """A start that failed is tried again like a run that failed."""
    play = Playbook(service("web", restart=policy(most=1)))
    play.start()
    play.tell(SpawnFailed(WEB, "mount `/data`: EPERM"))
    assert play.state("web") is State.BACKOFF
    assert play.reason("web") == "cannot start: mount `/data`: EPERM"
    assert play.wait() == [Spawn(WEB, 2)]
    play.tell(SpawnFailed(WEB, "mount `/data`: EPERM"))
    assert play.reason("web") == (
        "gave up: 1 restart within 10m, last cannot start: mount `/data`: EPERM"
    )


def test_permanent_spawn_failure_is_the_last() -> None:
    """What trying again cannot help is not tried again."""
    play = Playbook(service("web"))
    play.start()
    play.tell(SpawnFailed(WEB, "`srv`: command not found", permanent=True))
    assert play.state("web") is State.FAILED
    assert play.reason("web") == "cannot start: `srv`: command not found"


def test_start_request_resets_counters() -> None:
    """A container that gave up and is started by hand has all its attempts again."""
    play = Playbook(service("web", restart=policy(most=0)))
    play.start()
    play.up("web")
    play.exits("web", 1)
    assert play.state("web") is State.FAILED
    assert play.tell(StartRequested(WEB)) == [Spawn(WEB, 1)]
    assert play.status("web").restarts == 0


def test_start_request_cuts_backoff_short() -> None:
    """An operator need not wait for the next attempt."""
    play = Playbook(service("web"))
    play.start()
    play.up("web")
    play.exits("web", 1)
    assert play.tell(StartRequested(WEB)) == [Spawn(WEB, 1)]
    assert play.core.next_deadline() is None


@given(policy=restart_policies, runs=st.lists(st.floats(0, 20), max_size=2000))
def test_delay_is_bounded(policy: RestartPolicy, runs: list[float]) -> None:
    """However a container fails, its wait is between 0 and `max_delay` plus jitter."""
    ledger = Ledger(WEB, policy)
    now = 0.0
    for ran in runs:
        ledger.launched(now)
        now += ran
        delay = ledger.next_delay(now, ran)
        if delay is None:
            assert policy.max is not None
            return
        assert 0.0 <= delay <= policy.max_delay * (1 + policy.jitter)


def test_delay_survives_any_number_of_failures() -> None:
    """A factor to the power of thousands is the cap, not an overflow."""
    ledger = Ledger(WEB, RestartPolicy(jitter=0.0))
    for _ in range(5000):
        delay = ledger.next_delay(0.0, 0.0)
    assert delay == 60.0


def test_jitter_spreads_replicas_and_repeats_itself() -> None:
    """Replicas that fell together come back apart, and the same story has the same times."""

    def delay(name: str) -> float | None:
        ledger = Ledger(the(name), RestartPolicy(delay=1.0, jitter=0.5))
        ledger.launched(0.0)
        return ledger.next_delay(1.0, 1.0)

    delays = [delay(f"web.{replica}") for replica in range(1, 101)]
    assert len(set(delays)) == 100
    assert all(d is not None and 0.5 <= d <= 1.5 for d in delays)
    assert delays == [delay(f"web.{replica}") for replica in range(1, 101)]


def test_memory_of_restarts_is_bounded() -> None:
    """A container that restarts for ever does not fill the supervisor's memory."""
    ledger = Ledger(WEB, RestartPolicy(max=None, window=float("inf")))
    for moment in range(3 * KEPT):
        ledger.launched(float(moment))
    assert ledger.in_window(3.0 * KEPT) == KEPT
    assert ledger.restarts == 3 * KEPT - 1
