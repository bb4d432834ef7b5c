"""What is known of one instance, as a frozen value: all that `ps` and `why` tell."""

from __future__ import annotations

from typing import final

from attrs import frozen

from anchor_supervisor.fleet.model import InstanceId, Kind
from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.health import ProbeResult
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.order import Wait
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State, Transition


@final
@frozen
class Status:
    """One instance now. All times are monotonic seconds; None is what is not known or not so.

    `next` says in words what will happen next without anyone's help, `next_at` when (None where
    that depends on an event). `restarts` and `attempts_in_window` count since an operator last
    asked for it; `streak` counts the runs in a row that ended early. `exit` is how the last run
    ended, `probes` the last three answers and `probe_failures` those in a row that count.
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


def describe(member: Instance, waits: tuple[Wait, ...], now: float, *, closing: bool) -> Status:
    """Write down what is known of an instance; `waits` are its closed gates."""
    held = member.state is State.WAITING and waits
    following, following_at = _next(member, waits, closing=closing)
    return Status(
        instance=member.id,
        kind=member.container.kind,
        state=member.state,
        health=member.health,
        reason="; ".join(map(str, waits)) if held else member.reason,
        since=member.since,
        next=following,
        next_at=following_at,
        restarts=member.ledger.restarts,
        attempts_in_window=member.ledger.in_window(now),
        streak=member.ledger.streak,
        pid=member.pid,
        exit=member.exit,
        started_at=member.started_at,
        finished_at=member.finished_at,
        waiting_on=waits if member.state is State.WAITING else (),
        probes=tuple(member.check.results) if member.check is not None else (),
        probe_failures=member.check.failures if member.check is not None else 0,
        history=tuple(member.history),
    )


def _next(
    member: Instance, waits: tuple[Wait, ...], *, closing: bool
) -> tuple[str | None, float | None]:
    """Return what happens next without anyone's help, and when, where either can be known."""
    stop = member.stopping
    match member.state:
        case State.WAITING if waits and any(wait.dead for wait in waits):
            return None, None
        case State.WAITING if waits:
            goals = (f"`{wait.container}` {wait.goal}" for wait in waits)
            return f"starts once {' and '.join(dict.fromkeys(goals))}", None
        case State.WAITING:
            return "starts with the fleet", None
        case State.STARTING:
            return "runs once its command is executed", None
        case State.BACKOFF:
            limit = member.container.restart
            number = words.ordinal(member.ledger.starts)
            spent = f"{number} restart"
            if limit.max is not None:
                spent += f", at most {limit.max} within {words.duration(limit.window)}"
            return f"starts again ({spent})", member.retry_at
        case State.STOPPING if member.spawning:
            return "is stopped as soon as it has started", None
        case State.STOPPING:
            return ("is killed again" if stop.kills else "is killed"), stop.kill_at
        case State.RUNNING if closing:
            return "is stopped once what depends on it is down", None
        case State.RUNNING if member.check is not None:
            return "is probed", member.check.deadline()
        case _:
            return None, None
