"""One instance: how stops, kills and restarts go, and what the world says late or twice."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import StopPolicy
from anchor_supervisor.supervision.commands import CancelSpawn, Kill, Report, Signal, Spawn
from anchor_supervisor.supervision.events import (
    Exited,
    FleetKillRequested,
    FleetStopRequested,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.life import KEPT_HISTORY
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State
from playbook import Playbook, health, job, policy, service, the

WEB = the("web")


def running() -> Playbook:
    """Tell the story up to a running service."""
    play = Playbook(service("web"))
    play.start()
    play.up("web")
    return play


def test_stop_signals_and_waits() -> None:
    """A stop sends the stop signal, and ends in `stopped` when the container does."""
    play = running()
    assert play.tell(StopRequested(WEB)) == [Signal(WEB, "TERM")]
    assert play.state("web") is State.STOPPING
    assert play.exits("web", 143) == []
    assert play.state("web") is State.STOPPED
    assert play.reason("web") == "stop requested, exited (143)"
    assert play.core.next_deadline() is None


def test_stop_kills_after_grace() -> None:
    """What does not end within its grace is killed."""
    play = running()
    play.tell(StopRequested(WEB))
    assert play.tell(Tick(), after=9.999) == []
    assert play.core.next_deadline() == 10.0
    assert play.wait() == [Kill(WEB)]
    assert play.reason("web") == "stop requested, killed after 10s of grace"
    play.exits("web", signal=9)
    assert play.reason("web") == "stop requested, killed by SIGKILL"


def test_kill_is_repeated() -> None:
    """A kill that changes nothing is repeated at growing distances, and the reason is honest."""
    play = running()
    play.tell(StopRequested(WEB))
    play.wait()
    moments = []
    for _ in range(9):
        began = play.now
        assert play.wait() == [Kill(WEB)]
        moments.append(play.now - began)
    assert moments == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert play.reason("web") == (
        "stop requested, killed 10 times, and the kernel has not let it go yet"
    )


def test_stop_without_grace_kills_at_once() -> None:
    """With no grace at all there is nothing to ask for."""
    play = Playbook(service("web", stop=StopPolicy(grace=0.0)))
    play.start()
    play.up("web")
    assert play.tell(StopRequested(WEB)) == [Kill(WEB)]


@pytest.mark.parametrize("state", [State.WAITING, State.BACKOFF, State.FAILED])
def test_stop_of_what_is_down(state: State) -> None:
    """A stop of what does not run ends in `stopped` at once, and disarms what was armed."""
    most = 0 if state is State.FAILED else None
    play = Playbook(service("db"), service("web", {"db": "started"}, restart=policy(most=most)))
    play.start()
    if state is not State.WAITING:
        play.up("db")
        play.up("web")
        play.exits("web", 1)
    assert play.state("web") is state
    play.tell(StopRequested(WEB))
    assert play.state("web") is State.STOPPED
    assert play.core.next_deadline() is None


def test_stop_of_what_is_starting() -> None:
    """A stop that comes during the spawn is carried out as soon as there is something to stop."""
    play = Playbook(service("web"))
    play.start()
    assert play.tell(StopRequested(WEB)) == [CancelSpawn(WEB)]
    assert play.state("web") is State.STOPPING
    assert play.core.next_deadline() is None
    assert play.up("web") == [Signal(WEB, "TERM")]
    play.exits("web", 0)
    assert play.state("web") is State.STOPPED


def test_stop_of_what_never_started() -> None:
    """A stop during a spawn that fails ends in `stopped`, not in another attempt."""
    play = Playbook(service("web"))
    play.start()
    play.tell(StopRequested(WEB))
    play.tell(SpawnFailed(WEB, "no such file"))
    assert play.state("web") is State.STOPPED
    assert play.reason("web") == "stop requested, cannot start: no such file"


def test_stop_leaves_completed_alone() -> None:
    """A job that is done stays done."""
    play = Playbook(service("web"), job("load"))
    play.start()
    play.up("load")
    play.exits("load", 0)
    assert play.tell(StopRequested(the("load"))) == []
    assert play.state("load") is State.COMPLETED


def test_stop_during_unhealthy_restart_wins() -> None:
    """An operator's stop overrides the restart that was under way."""
    play = Playbook(service("web", check=health(retries=1)))
    play.start()
    play.up("web")
    play.probed("web", 1, ok=True)
    play.wait()
    play.probed("web", 2, ok=False)
    assert play.tell(StopRequested(WEB)) == []
    play.exits("web", 0)
    assert play.state("web") is State.STOPPED
    assert play.core.next_deadline() is None


def test_restart_stops_and_starts_afresh() -> None:
    """A restart is a stop, then a first attempt."""
    play = running()
    play.exits("web", 1)
    play.wait()
    play.up("web")
    assert play.tell(RestartRequested(WEB)) == [Signal(WEB, "TERM")]
    assert play.exits("web", 0) == [Spawn(WEB, 1)]
    assert play.status("web").restarts == 0


def test_restart_of_what_is_starting() -> None:
    """A restart that comes during the spawn stops what comes of it, and starts anew."""
    play = Playbook(service("web"))
    play.start()
    assert play.tell(RestartRequested(WEB)) == [CancelSpawn(WEB)]
    assert play.up("web") == [Signal(WEB, "TERM")]
    assert play.exits("web", 0) == [Spawn(WEB, 1)]


@pytest.mark.parametrize("verb", [StartRequested, RestartRequested])
def test_start_of_what_is_down(verb: type[StartRequested] | type[RestartRequested]) -> None:
    """A stopped container is started by a start as by a restart."""
    play = running()
    play.tell(StopRequested(WEB))
    play.exits("web", 0)
    assert play.tell(verb(WEB)) == [Spawn(WEB, 1)]


def test_start_of_what_waits() -> None:
    """A start of what waits for its gates resets the counters, so that the next is a first one."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    play.exits("db", 1)
    play.exits("web", 1)
    assert play.wait() == [Spawn(the("db"), 2)]
    assert play.state("web") is State.WAITING
    assert play.tell(StartRequested(WEB)) == []
    assert play.up("db") == [Spawn(WEB, 1)]


def test_start_of_what_is_stopping() -> None:
    """A start during a stop is obeyed when the stop is through."""
    play = running()
    play.tell(StopRequested(WEB))
    assert play.tell(StartRequested(WEB)) == []
    assert play.exits("web", 0) == [Spawn(WEB, 1)]


def test_start_of_what_runs() -> None:
    """A start of what runs, or is about to, changes nothing."""
    play = Playbook(service("web"))
    play.start()
    assert play.tell(StartRequested(WEB)) == []
    play.up("web")
    assert play.tell(StartRequested(WEB)) == []
    assert play.state("web") is State.RUNNING


def test_completed_job_runs_again_on_request() -> None:
    """An operator may run a job once more."""
    play = Playbook(service("web"), job("load"))
    play.start()
    play.up("load")
    play.exits("load", 0)
    assert play.tell(StartRequested(the("load"))) == [Spawn(the("load"), 1)]


def test_fleet_kill_is_at_once() -> None:
    """A fleet kill ends what runs and what is stopping, and what is starting once it is there."""
    play = Playbook(
        service("a"), service("b", {"a": "started"}), service("c"), service("d", {"c": "healthy"})
    )
    play.start()
    play.up("a")
    play.up("b")
    play.tell(StopRequested(the("b")))
    killed = {Kill(the("a")), Kill(the("b")), CancelSpawn(the("c"))}
    assert set(play.tell(FleetKillRequested())) == killed
    assert play.state("d") is State.STOPPED
    assert play.up("c") == [Kill(the("c"))]
    assert set(play.tell(FleetKillRequested())) == {Kill(the(name)) for name in "abc"}


def test_world_repeats_itself() -> None:
    """Answers that come twice, or to no question, are dropped without a word."""
    play = Playbook(service("web"))
    for event in (Exited(WEB, ExitStatus(1)), Spawned(WEB, 1), SpawnFailed(WEB, "late")):
        assert play.tell(event) == []
    play.start()
    assert play.tell(Exited(WEB, ExitStatus(1))) == []
    play.up("web")
    told = len(play.reports)
    assert play.tell(Spawned(WEB, 9)) == []
    assert play.tell(SpawnFailed(WEB, "late")) == []
    assert play.status("web").pid == 4000
    play.tell(StopRequested(WEB))
    play.exits("web", 0)
    assert play.exits("web", 0) == []
    assert play.up("web") == []
    assert len(play.reports) == told + 2


def test_reports_tell_every_change() -> None:
    """Each change is reported once, with what was before, how the run ended, and what is next."""
    play = running()
    play.exits("web", 1)
    assert play.reports == [
        Report(WEB, State.WAITING, State.STARTING, HealthState.NONE, "first attempt"),
        Report(WEB, State.STARTING, State.RUNNING, HealthState.NONE, "started"),
        Report(
            WEB,
            State.RUNNING,
            State.BACKOFF,
            HealthState.NONE,
            "exited (1)",
            ExitStatus(1),
            next_at=1.0,
        ),
    ]


def test_history_is_bounded() -> None:
    """The last transitions are kept, with their moments; older ones are let go."""
    play = Playbook(service("web", restart=policy(delay=0.0)))
    play.start()
    for _ in range(50):
        play.now += 1.0
        play.up("web")
        play.exits("web", 1)
    history = play.status("web").history
    assert len(history) == KEPT_HISTORY
    assert (history[-1].at, history[-1].state) == (50.0, State.STARTING)
    assert history[-1].reason == "restart 50"


def test_end_during_fleet_stop() -> None:
    """What crashes while the fleet goes down is not tried again; a job may still complete."""
    play = Playbook(
        service("db"), job("load"), service("web", {"db": "started", "load": "started"})
    )
    play.start()
    for name in ("db", "load", "web"):
        play.up(name)
    assert play.tell(FleetStopRequested()) == [Signal(WEB, "TERM")]
    play.exits("db", 1)
    play.exits("load", 0)
    assert play.state("db") is State.STOPPED
    assert play.reason("db") == "exited (1) while the fleet was stopping"
    assert play.state("load") is State.COMPLETED


def test_spawn_fails_during_fleet_stop() -> None:
    """A start that fails while the fleet goes down is the end of it."""
    play = Playbook(service("db"), service("web", {"db": "started"}))
    play.start()
    play.up("db")
    play.up("web")
    play.exits("db", 1)
    play.wait()
    play.tell(FleetStopRequested())
    assert play.state("db") is State.STARTING
    assert play.tell(SpawnFailed(the("db"), "no such file")) == []
    assert play.state("db") is State.STOPPED
