"""What is known of one instance, as a frozen value: all that `ps` and `why` tell."""

from __future__ import annotations

from typing import final

from anchor_supervisor.fleet.model import InstanceId, Kind, Probe
from anchor_supervisor.fleet.schedule_model import Overlap
from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.health import HealthCheck, ProbeResult
from anchor_supervisor.supervision.instance import Due, Instance
from anchor_supervisor.supervision.life import Life
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.order import Wait
from anchor_supervisor.supervision.schedule import ScheduleStatus
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State, Transition
from anchor_supervisor.supervision.stop import CommandResult, Stage, Stop
from anchor_supervisor.values import evolve, frozen

_RUN_MEANWHILE = {
    Overlap.SKIP: "its next run is skipped if this one goes on",
    Overlap.QUEUE: "its next run is queued if this one goes on",
    Overlap.REPLACE: "is replaced by its next run",
}


@final
@frozen
class ProbeStatus:
    """What is asked now, or at the next start. `startup`: it is the probe of `startup`.

    `failures` are those in a row that count, of the `retries` that make it unhealthy.
    """

    probe: Probe
    startup: bool
    failures: int
    retries: int


@final
@frozen
class Status:
    """One instance now. All times are monotonic seconds; None is what is not known or not so.

    `next` says in words what will happen next without anyone's help, `next_at` when (None where
    that depends on an event). `restarts` and `attempts_in_window` count since an operator last
    asked for it, the latter up to `attempts_most` (None: without end) within `window` seconds;
    `streak` counts the runs in a row that ended early. `exit` is how the last run ended, `probes`
    the last three answers. `too_long_at`: when `max_runtime` ends this run. `stop_command` is the
    end of the last one there was.
    """

    instance: InstanceId
    kind: Kind
    state: State
    health: HealthState
    reason: str
    since: float | None
    next: str | None
    next_at: float | None
    restarts: int
    attempts_in_window: int
    streak: int
    pid: int | None
    exit: ExitStatus | None
    started_at: float | None
    finished_at: float | None
    waiting_on: tuple[Wait, ...]
    probes: tuple[ProbeResult, ...]
    probe_failures: int
    history: tuple[Transition, ...]
    attempts_most: int | None = None
    window: float = 0.0
    probing: ProbeStatus | None = None
    too_long_at: float | None = None
    schedule: ScheduleStatus | None = None
    stop_command: CommandResult | None = None


def describe(member: Instance, waits: tuple[Wait, ...], now: float, *, closing: bool) -> Status:
    """Write down what is known of an instance; `waits` are its closed gates."""
    life = member.life
    waits = waits if member.state is State.WAITING and not member.resting else ()
    following, following_at = _next(member, waits, closing=closing)
    return Status(
        instance=member.id,
        kind=member.container.kind,
        state=member.state,
        health=member.health,
        reason="; ".join(map(str, waits)) if waits else member.reason,
        since=life.since,
        next=following,
        next_at=following_at,
        restarts=life.ledger.restarts,
        attempts_in_window=life.ledger.in_window(now),
        streak=life.ledger.streak,
        pid=life.pid,
        exit=life.exit,
        started_at=life.started_at,
        finished_at=life.finished_at,
        waiting_on=waits,
        probes=tuple(life.check.results),
        probe_failures=life.check.failures,
        history=tuple(life.history),
        attempts_most=life.ledger.policy.max,
        window=life.ledger.policy.window,
        probing=_probing(life.check),
        too_long_at=life.too_long_at,
        schedule=_schedule(life),
        stop_command=life.stopping.result,
    )


def _schedule(life: Life) -> ScheduleStatus | None:
    if life.timetable is None:
        return None
    status = life.timetable.status
    return evolve(status, due_at=None) if life.closing else status


def _probing(check: HealthCheck) -> ProbeStatus | None:
    table = check.table
    if table is None:
        return None
    startup = table is check.startup
    return ProbeStatus(table.probe, startup, check.failures, table.retries)


def _next(
    member: Instance, waits: tuple[Wait, ...], *, closing: bool
) -> tuple[str | None, float | None]:
    """Return what happens next without anyone's help, and when, where either can be known."""
    if any(wait.dead for wait in waits):
        return None, None
    event = _next_event(member, waits, closing=closing)
    if event is not None:
        return event, None
    at, due = member.upcoming() or (None, None)
    return (None if due is None else _at_moment(member, due)), at


def _next_event(member: Instance, waits: tuple[Wait, ...], *, closing: bool) -> str | None:
    """Return what happens once something else does, if that comes first."""
    match member.state:
        case State.WAITING if waits:
            goals = (f"`{wait.container}` {wait.goal}" for wait in waits)
            return f"starts once {' and '.join(dict.fromkeys(goals))}"
        case State.WAITING if member.life.since is None:
            return "starts with the fleet"
        case State.STARTING:
            return "runs once its command is executed"
        case State.STOPPING if member.life.spawning:
            return "is stopped as soon as it has started"
        case State.RUNNING if closing:
            return "is stopped once what depends on it is down"
        case _:
            return None


def _at_moment(member: Instance, due: Due) -> str:
    match due:
        case Due.RETRY:
            return _next_attempt(member)
        case Due.STOP_STEP:
            return _next_step(member.life.stopping)
        case Due.PROBE:
            return "is probed"
        case Due.TOO_LONG:
            return f"is stopped, as it may run {words.duration(member.container.max_runtime or 0)}"
        case Due.RUN if member.state in DOWN:
            return "runs again"
        case Due.RUN if member.resting or member.container.schedule is None:
            return "runs"
        case Due.RUN:
            return _RUN_MEANWHILE[member.container.schedule.overlap]


def _next_attempt(member: Instance) -> str:
    limit = member.container.restart
    spent = f"{words.ordinal(member.life.ledger.starts)} restart"
    if limit.max is not None:
        spent += f", at most {limit.max} within {words.duration(limit.window)}"
    return f"starts again ({spent})"


def _next_step(stop: Stop) -> str:
    match stop.stage:
        case Stage.DRAINING:
            return "is asked to end"
        case Stage.KILLED:
            return "is killed again"
        case _:
            return "is killed"
