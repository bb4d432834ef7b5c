"""A life from run to run: runs that are too long, how a stop goes, and what is adopted."""

from __future__ import annotations

from attrs import evolve

from anchor_supervisor.fleet.model import Container, OnUnhealthy, RestartWhen, Startup, StopPolicy
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    Command,
    Drain,
    Kill,
    Report,
    RunProbe,
    RunStopCommand,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.events import (
    FleetKillRequested,
    StopCommandFinished,
    StopRequested,
)
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State
from playbook import NEVER, PROBE, Playbook, health, job, policy, service, the

WEB = the("web")
STOP_COMMAND = ("pg_ctl", "stop")
ASKED = StopPolicy("TERM", 10.0, command=STOP_COMMAND)


def up(container: Container) -> tuple[Instance, list[Command]]:
    """Bring one instance up by itself; return it and where its commands go."""
    commands: list[Command] = []
    member = Instance(the(container.name), container, commands.append)
    member.begin(0.0)
    member.launch(0.0)
    member.life.spawned(0.0, 4000)
    commands.clear()
    return member, commands


def acts(commands: list[Command]) -> list[Command]:
    """Return the commands but for the reports."""
    return [command for command in commands if not isinstance(command, Report)]


def test_run_that_is_too_long_fails() -> None:
    """At `max_runtime` it is stopped, which the restart policy takes for a failure."""
    play = Playbook(evolve(service("web", restart=policy()), max_runtime=600.0))
    play.start()
    play.up("web")
    status = play.status("web")
    assert (status.next, status.next_at) == ("is stopped, as it may run 10m", 600.0)
    assert play.wait() == [Signal(WEB, "TERM")]
    assert play.reason("web") == "ran longer than 10m"
    assert play.exits("web", 0) == [Spawn(WEB, 2)]
    play.up("web")
    assert play.core.next_deadline() == 1200.0


def test_job_that_is_too_long_fails_for_good() -> None:
    """A job without restarts fails, even if it then exits 0."""
    play = Playbook(service("db"), evolve(job("load"), max_runtime=60.0))
    play.start()
    play.up("load")
    assert play.wait() == [Signal(the("load"), "TERM")]
    play.exits("load", 0)
    assert play.state("load") is State.FAILED
    assert play.reason("load") == "stopped: ran longer than 1m, exited (0)"


def test_stop_command_then_signal_then_kill() -> None:
    """The stop command comes first; then the signal; one grace is over both."""
    play = Playbook(service("web", stop=ASKED))
    play.start()
    play.up("web")
    assert play.tell(StopRequested(WEB)) == [RunStopCommand(WEB, STOP_COMMAND, 10.0)]
    assert play.reason("web") == "stop requested, asked by its stop command"
    failed = StopCommandFinished(WEB, ok=False, output="no such database")
    assert play.tell(failed, after=4.0) == [Signal(WEB, "TERM")]
    assert play.reason("web") == "stop requested, its stop command failed"
    assert play.tell(failed) == []
    assert play.wait() == [Kill(WEB)]
    assert play.now == 10.0
    play.exits("web", signal=9)
    result = play.status("web").stop_command
    assert result is not None
    assert (result.at, result.ok, result.output) == (4.0, False, "no such database")


def test_end_by_the_stop_command() -> None:
    """What ends by its command gets no signal, and the command's answer comes to nobody."""
    play = Playbook(service("web", stop=ASKED))
    play.start()
    play.up("web")
    play.tell(StopRequested(WEB))
    assert play.exits("web", 0) == []
    assert play.state("web") is State.STOPPED
    assert play.tell(StopCommandFinished(WEB, ok=True, output="")) == []


def test_kill_while_the_stop_command_runs() -> None:
    """A fleet kill waits for no command."""
    play = Playbook(service("web", stop=ASKED))
    play.start()
    play.up("web")
    play.tell(StopRequested(WEB))
    assert play.tell(FleetKillRequested()) == [Kill(WEB)]
    assert play.tell(StopCommandFinished(WEB, ok=True, output="")) == []


def test_drain_before_a_stop() -> None:
    """First it is led nothing new; it counts as going down already, and is not probed."""
    member, commands = up(service("web", check=health()))
    member.expire(0.0)
    commands.clear()
    member.restart(1.0, "replaced", drain=2.0)
    assert acts(commands) == [CancelProbe(WEB), Drain(WEB)]
    assert (member.state, member.reason) == (State.STOPPING, "replaced, drained for 2s first")
    assert not member.ready
    assert member.deadline() == 3.0
    commands.clear()
    member.expire(3.0)
    assert acts(commands) == [Signal(WEB, "TERM")]
    assert member.deadline() == 13.0
    member.life.exited(4.0, ExitStatus(0))
    assert (member.state, member.reason) == (State.WAITING, "replaced, exited (0)")


def test_drained_to_stay_down() -> None:
    """A stop with a drain ends in `stopped`, with its own reason."""
    member, commands = up(service("web"))
    member.stop(0.0, "removed from the file", drain=1.0)
    member.expire(1.0)
    assert acts(commands) == [Drain(WEB), Signal(WEB, "TERM")]
    member.life.exited(2.0, ExitStatus(0))
    assert member.state is State.STOPPED
    assert member.reason == "removed from the file, exited (0)"


def test_adopted_policies_are_in_force_at_once() -> None:
    """Restart, stop and runtime are the new ones, without a word and without a new run."""
    member, commands = up(service("web", restart=NEVER))
    changed = evolve(
        service("web", restart=policy(most=0), stop=StopPolicy("QUIT", 3.0)), max_runtime=5.0
    )
    member.adopt(changed, 1.0)
    assert commands == []
    assert (member.container, member.life.pid) == (changed, 4000)
    assert member.deadline() == 5.0
    member.expire(5.0)
    assert acts(commands) == [Signal(WEB, "QUIT")]
    assert member.deadline() == 8.0
    member.life.exited(6.0, ExitStatus(0))
    assert member.reason == "gave up: 0 restarts within 10m, last ran longer than 5s"


def test_adopted_counters_go_on() -> None:
    """The restarts there have been count under the new policy, and a wait becomes as long as it."""
    member, _ = up(service("web", restart=policy(delay=60.0)))
    member.life.exited(1.0, ExitStatus(1))
    assert member.deadline() == 61.0
    member.adopt(service("web", restart=policy(delay=3.0, most=1)), 2.0)
    assert member.deadline() == 4.0
    member.launch(4.0)
    member.life.spawned(4.0, 4001)
    member.life.exited(5.0, ExitStatus(1))
    assert member.state is State.FAILED


def test_adopted_health_keeps_what_it_knows() -> None:
    """Where only the figures change, it stays healthy, and the next probe is not late for them."""
    member, commands = up(service("web", check=health(interval=30.0)))
    member.expire(0.0)
    member.life.probe_finished(1.0, 1, ok=True, output="")
    commands.clear()
    member.adopt(service("web", check=health(interval=5.0)), 2.0)
    assert commands == []
    assert (member.health, member.deadline()) == (HealthState.HEALTHY, 7.0)


def test_adopted_health_begins_and_ends() -> None:
    """A probe that is added is asked at once; one that is removed takes its verdict with it."""
    member, commands = up(service("web"))
    assert member.ready
    member.adopt(service("web", check=health()), 1.0)
    assert (member.health, member.ready, member.deadline()) == (HealthState.STARTING, False, 1.0)
    member.expire(1.0)
    assert acts(commands) == [RunProbe(WEB, 1, PROBE, 2.0)]
    commands.clear()
    member.adopt(service("web"), 1.5)
    assert acts(commands) == [CancelProbe(WEB)]
    assert (member.health, member.ready, member.deadline()) == (HealthState.NONE, True, None)
    member.adopt(evolve(service("web"), startup=Startup(PROBE)), 2.0)
    member.expire(2.0)
    assert acts(commands)[-1] == RunProbe(WEB, 2, PROBE, 5.0)


def test_adopted_verdict_is_carried_out() -> None:
    """What is unhealthy when `on_failure` changes suffers it at once."""
    member, commands = up(service("web", check=health(retries=1, on_failure=OnUnhealthy.NONE)))
    for number, ok in enumerate([True, False], start=1):
        due = member.deadline()
        assert due is not None
        member.expire(due)
        member.life.probe_finished(due, number, ok=ok, output="")
    assert (member.state, member.health) == (State.RUNNING, HealthState.UNHEALTHY)
    commands.clear()
    member.adopt(service("web", check=health(retries=1, on_failure=OnUnhealthy.STOP)), 9.0)
    assert acts(commands) == [Signal(WEB, "TERM")]
    assert member.reason == "unhealthy: 1 probe failed in a row"


def test_adopted_while_down_or_stopping() -> None:
    """In other states nothing goes out; the next run is one of the new kind."""
    member, commands = up(service("web", restart=policy(RestartWhen.ALWAYS)))
    member.stop(1.0, "stop requested")
    commands.clear()
    member.adopt(service("web", check=health()), 2.0)
    assert (commands, member.health) == ([], HealthState.NONE)
    member.life.exited(3.0, ExitStatus(0))
    commands.clear()
    member.adopt(service("web", check=health(interval=1.0)), 4.0)
    assert (commands, member.deadline()) == ([], None)
    member.want(5.0, "start requested")
    member.launch(5.0)
    member.life.spawned(6.0, 4001)
    member.expire(6.0)
    assert acts(commands) == [Spawn(WEB, 1), RunProbe(WEB, 1, PROBE, 2.0)]
