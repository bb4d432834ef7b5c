"""One instance: what the fleet asks of it and what the world says of it become triggers.

It knows its own container's policies and nothing of its neighbours; `core.py` looks at the gates
and calls `launch`. What the world says late or twice is dropped here, before it is a trigger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.fleet.model import (
    Container,
    InstanceId,
    Kind,
    OnUnhealthy,
    RestartWhen,
)
from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    CancelSpawn,
    Command,
    Kill,
    Report,
    RunProbe,
    Signal,
    Spawn,
)
from anchor_supervisor.supervision.health import HealthCheck
from anchor_supervisor.supervision.lifecycle import HELD, Trigger, after
from anchor_supervisor.supervision.restart import Ledger
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State, Transition
from anchor_supervisor.supervision.stop import Sequel, Stop

KEPT_HISTORY: Final = 20


@final
class Instance:
    """The life of one instance. All times are monotonic seconds."""

    def __init__(
        self, identity: InstanceId, container: Container, emit: Callable[[Command], None]
    ) -> None:
        """Begin waiting for the fleet to be started; commands go to `emit`, in order."""
        self.id = identity
        self.container = container
        self._emit = emit
        self.state = State.WAITING
        self.reason = "the fleet has not been started"
        self.since: float | None = None
        self.history: deque[Transition] = deque(maxlen=KEPT_HISTORY)
        self.ledger = Ledger(identity, container.restart)
        self.check = HealthCheck(container.health) if container.health is not None else None
        self.stopping = Stop(container.stop)
        self.spawning = False
        self.pid: int | None = None
        self.exit: ExitStatus | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.retry_at: float | None = None
        self._closing = False
        self._held = False

    @property
    def health(self) -> HealthState:
        """What the probes have said so far in this run."""
        return self.check.state if self.check is not None else HealthState.NONE

    @property
    def name(self) -> str:
        """How a person calls it: `web`, or `web.2` where there are replicas."""
        return str(self.id) if self.container.replicas > 1 else self.container.name

    @property
    def account(self) -> str:
        """Its state in a clause: ``` `db` has failed: gave up ...```."""
        state = "has failed" if self.state is State.FAILED else f"is {self.state}"
        return f"`{self.name}` {state}: {self.reason}"

    @property
    def ready(self) -> bool:
        """Whether it is what the file wants in the end: up and healthy, or a job that is done."""
        if self.container.kind is Kind.JOB:
            return self.state is State.COMPLETED
        return self.state is State.RUNNING and (
            self.check is None or self.health is HealthState.HEALTHY
        )

    # What the fleet asks.

    def want(self, now: float, reason: str) -> None:
        """Make it wanted afresh, unless it is on its way already; counters start again."""
        match self.state:
            case State.STOPPED | State.COMPLETED | State.FAILED | State.BACKOFF:
                self.ledger.reset()
                self._move(now, Trigger.WAIT, reason)
            case State.STOPPING:
                self._redirect_stop(now, Sequel.START, reason)
            case State.WAITING:
                self.ledger.reset()
            case _:
                pass

    def launch(self, now: float) -> None:
        """Start it: the caller has seen the gates open."""
        self.spawning = True
        attempt = self.ledger.launched(now)
        restarts = self.ledger.restarts
        self._move(now, Trigger.LAUNCH, f"restart {restarts}" if restarts else "first attempt")
        self._emit(Spawn(self.id, attempt))

    def hold(self, now: float, reason: Callable[[], str]) -> None:
        """Keep it waiting, as a gate is closed. Reported once; a Status follows the wait."""
        if self.state is State.BACKOFF:
            self._move(now, Trigger.WAIT, reason())
        elif not self._held:
            self._note(now, self.state, reason())
        self._held = True

    def stop(self, now: float, reason: str) -> None:
        """Bring it down and keep it down."""
        match self.state:
            case State.WAITING | State.BACKOFF | State.FAILED:
                self._move(now, Trigger.DOWN, reason)
            case State.STARTING | State.RUNNING:
                self._begin_stop(now, Sequel.STOPPED, reason)
            case State.STOPPING if self.stopping.sequel is not Sequel.STOPPED:
                self._redirect_stop(now, Sequel.STOPPED, reason)
            case _:
                pass

    def restart(self, now: float, reason: str) -> None:
        """Stop it where it lives, and start it afresh in any case."""
        if self.state in {State.STARTING, State.RUNNING}:
            self._begin_stop(now, Sequel.START, reason)
        else:
            self.want(now, reason)

    def kill(self, now: float, reason: str) -> None:
        """End it without grace."""
        self.stopping.merciless = True
        self.close(now, reason)
        if self.state in {State.STARTING, State.RUNNING}:
            self._begin_stop(now, Sequel.STOPPED, reason)
        elif self.state is State.STOPPING and self.pid is not None:
            self.stopping.why = reason
            self._kill(now)

    def close(self, now: float, reason: str) -> None:
        """Begin nothing new, as the fleet goes down; what runs is left for its turn."""
        self._closing = True
        self._cancel_probe()
        if self.state in HELD:
            self._move(now, Trigger.DOWN, reason)
        elif self.state is State.STOPPING:
            self.stop(now, reason)

    # What the world says.

    def spawned(self, now: float, pid: int) -> None:
        """Take in that its command has been executed."""
        if not self.spawning:
            return
        self.spawning = False
        self.pid = pid
        self.started_at, self.finished_at = now, None
        if self.state is State.STOPPING:
            self._move(now, Trigger.SPAWNED, self.stopping.why)
            self._carry_out_stop(now)
            return
        if self.check is not None and not self._closing:
            self.check.begin(now)
        restarts = self.ledger.restarts
        self._move(now, Trigger.SPAWNED, f"started (restart {restarts})" if restarts else "started")

    def spawn_failed(self, now: float, reason: str, *, permanent: bool) -> None:
        """Take in that it could not be started, and nothing of it runs."""
        if not self.spawning:
            return
        self.spawning = False
        why = f"cannot start: {reason}"
        if self.state is State.STOPPING:
            self._ended_stopping(now, why)
        elif self._closing:
            self._move(now, Trigger.DOWN, f"{why}, while the fleet was stopping")
        elif permanent:
            self._move(now, Trigger.GIVE_UP, why)
        else:
            self._ended(now, why, last=why, success=False, ran=0.0)

    def exited(self, now: float, status: ExitStatus) -> None:
        """Take in that its main process has ended, and everything in its cgroup with it."""
        if self.pid is None:
            return
        self._cancel_probe()
        if self.check is not None:
            self.check.forget()
        self.pid = None
        self.exit, self.finished_at = status, now
        if self.state is State.STOPPING:
            self._ended_stopping(now, str(status))
        elif self.container.kind is Kind.JOB and status.success:
            self._move(now, Trigger.COMPLETE, str(status))
        elif self._closing:
            self._move(now, Trigger.DOWN, f"{status} while the fleet was stopping")
        else:
            ran = now - (self.started_at if self.started_at is not None else now)
            last = words.last(status)
            self._ended(now, str(status), last=last, success=status.success, ran=ran)

    def probe_finished(self, now: float, number: int, *, ok: bool, output: str) -> None:
        """Take in the answer to a probe, if it is to the one under way."""
        if self.check is not None and self.check.awaits(number):
            self._take_answer(now, self.check, ok=ok, output=output)

    # What time brings.

    def deadline(self) -> float | None:
        """When `expire` (or, in `backoff`, a launch) is due."""
        match self.state:
            case State.BACKOFF:
                return self.retry_at
            case State.STOPPING:
                return self.stopping.kill_at
            case State.RUNNING:
                return self.check.deadline() if self.check is not None else None
            case _:
                return None

    def expire(self, now: float) -> None:
        """Do what is due by now, except to launch, which is the fleet's to decide."""
        kill_at = self.stopping.kill_at
        if self.state is State.STOPPING and kill_at is not None and kill_at <= now:
            self._kill(now)
        if self.check is None or self.state is not State.RUNNING:
            return
        if self.check.overdue(now):
            self._emit(CancelProbe(self.id))
            self._take_answer(now, self.check, ok=False, output="the probe gave no answer")
        if self.check.due(now):
            policy = self.check.policy
            self._emit(RunProbe(self.id, self.check.ask(now), policy.probe, policy.timeout))

    # How a run ends.

    def _ended(self, now: float, why: str, *, last: str, success: bool, ran: float) -> None:
        """Follow a run that ended by itself: again, never again, or fine."""
        when = self.container.restart.when
        if self.ledger.wants_again(success=success):
            self._retry(now, why, last, ran)
        elif success:
            self._move(now, Trigger.DOWN, f"{why}, policy {when}")
        else:
            self._move(now, Trigger.GIVE_UP, f"{why}, policy {when}")

    def _retry(self, now: float, why: str, last: str, ran: float) -> None:
        delay = self.ledger.next_delay(now, ran)
        if delay is not None:
            self.retry_at = now + delay
            self._move(now, Trigger.RETRY, why)
            return
        policy = self.container.restart
        done = words.count(policy.max or 0, "restart")
        self._move(
            now,
            Trigger.GIVE_UP,
            f"gave up: {done} within {words.duration(policy.window)}, last {last}",
        )

    def _ended_stopping(self, now: float, how: str) -> None:
        """Follow a stop that reached its end: its sequel was settled when it began, or since."""
        why = self.stopping.why
        match self.stopping.sequel:
            case Sequel.STOPPED:
                self._move(now, Trigger.DOWN, f"{why}, {how}")
            case Sequel.START:
                self.ledger.reset()
                self._move(now, Trigger.WAIT, f"{why}, {how}")
            case Sequel.RETRY:
                ran = now - (self.started_at if self.started_at is not None else now)
                self._retry(now, f"{why}, {how}", why, ran)
            case Sequel.FAILED:
                self._move(now, Trigger.GIVE_UP, f"stopped: {why}, {how}")

    # How a stop goes.

    def _begin_stop(self, now: float, sequel: Sequel, why: str) -> None:
        self._cancel_probe()
        self.stopping.begin(sequel, why)
        self._move(now, Trigger.STOP, why)
        if self.pid is not None:
            self._carry_out_stop(now)
        else:
            self._emit(CancelSpawn(self.id))

    def _redirect_stop(self, now: float, sequel: Sequel, why: str) -> None:
        """Let the stop that is under way lead elsewhere; how far it has gone stays."""
        self.stopping.sequel, self.stopping.why = sequel, why
        self._move(now, Trigger.STOP, why)

    def _carry_out_stop(self, now: float) -> None:
        if self.stopping.asks_first:
            self._emit(Signal(self.id, self.stopping.ask(now)))
        else:
            self._kill(now)

    def _kill(self, now: float) -> None:
        self._move(now, Trigger.ESCALATE, self.stopping.kill(now))
        self._emit(Kill(self.id))

    # Health.

    def _take_answer(self, now: float, check: HealthCheck, *, ok: bool, output: str) -> None:
        before = check.state
        check.answer(now, ok=ok, output=output)
        if check.state is before:
            return
        if check.state is HealthState.HEALTHY:
            self._note(now, self.state, "healthy")
            return
        failed = words.count(check.failures, "probe")
        why = f"unhealthy: {failed} failed in a row"
        self._note(now, self.state, why)
        match check.policy.on_failure:
            case OnUnhealthy.RESTART if self.container.restart.when is not RestartWhen.NO:
                self._begin_stop(now, Sequel.RETRY, why)
            case OnUnhealthy.STOP:
                self._begin_stop(now, Sequel.FAILED, why)
            case _:
                pass

    def _cancel_probe(self) -> None:
        if self.check is not None and self.check.pause():
            self._emit(CancelProbe(self.id))

    # The one way a state changes.

    def _move(self, now: float, trigger: Trigger, reason: str) -> None:
        before, self.state = self.state, after(self.state, trigger)
        if self.state is not before:
            self.since = now
            self._held = False
        if self.state is not State.BACKOFF:
            self.retry_at = None
        self._note(now, before, reason)

    def _note(self, now: float, before: State, reason: str) -> None:
        self.reason = reason
        self.history.append(Transition(now, self.state, self.health, reason))
        self._emit(
            Report(self.id, before, self.state, self.health, reason, self.exit, self.retry_at)
        )
