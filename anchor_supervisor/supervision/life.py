"""The states of one instance and the runs behind them: what the world says becomes triggers.

What is late or comes twice is dropped here, before it is a trigger. What is wanted of it, and when,
is told by `instance.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.fleet.model import Container, InstanceId, Kind, OnUnhealthy, RestartWhen
from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    CancelSpawn,
    Command,
    Report,
    RunProbe,
    Spawn,
)
from anchor_supervisor.supervision.health import HealthCheck
from anchor_supervisor.supervision.lifecycle import DOWN, Trigger, after
from anchor_supervisor.supervision.restart import Ledger
from anchor_supervisor.supervision.schedule import Timetable
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State, Transition
from anchor_supervisor.supervision.stop import Sequel, Step, Stop

KEPT_HISTORY: Final = 20

SIGNALLED: Final = 128
"""What a signal's number is added to where an exit code is asked for."""


@final
class Life:
    """One instance from run to run. All times are monotonic seconds.

    `container` is what the policies are read from, and may be exchanged. `closing`: the fleet goes
    down, so nothing new is begun.
    """

    def __init__(
        self, identity: InstanceId, container: Container, emit: Callable[[Command], None]
    ) -> None:
        """Begin waiting for the fleet to be started; commands go to `emit`, in order."""
        self.id = identity
        self.container = container
        self.emit = emit
        self.state = State.WAITING
        self.reason = "the fleet has not been started"
        self.since: float | None = None
        self.history: deque[Transition] = deque(maxlen=KEPT_HISTORY)
        self.ledger = Ledger(identity, container.restart)
        self.check = HealthCheck(container.health, container.startup)
        self.stopping = Stop(identity, container.stop)
        self.timetable = None if container.schedule is None else Timetable(container.schedule)
        self.spawning = False
        self.pid: int | None = None
        self.exit: ExitStatus | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.retry_at: float | None = None
        self.closing = False
        self.held = False

    @property
    def too_long_at(self) -> float | None:
        """When the present run has lasted `max_runtime`."""
        limit = self.container.max_runtime
        if limit is None or self.pid is None or self.started_at is None:
            return None
        return self.started_at + limit

    # What is done with it.

    def launch(self, now: float) -> None:
        """Start it: the caller has seen the gates open."""
        self.spawning = True
        attempt = self.ledger.launched(now)
        restarts = self.ledger.restarts
        self.move(now, Trigger.LAUNCH, f"restart {restarts}" if restarts else "first attempt")
        self.emit(Spawn(self.id, attempt))

    def begin_stop(self, now: float, sequel: Sequel, why: str, drain: float = 0.0) -> None:
        """Stop what runs or is starting; `drain` seconds pass before it is asked to end."""
        self.cancel_probe()
        self.stopping.begin(sequel, why, drain)
        self.move(now, Trigger.STOP, why)
        if self.pid is not None:
            self._go_on(now, self.stopping.advance(now))
        else:
            self.emit(CancelSpawn(self.id))

    def redirect_stop(self, now: float, sequel: Sequel, why: str) -> None:
        """Let the stop that is under way lead elsewhere; how far it has gone stays."""
        self.stopping.redirect(sequel, why)
        self.move(now, Trigger.STOP, why)

    def kill(self, now: float, why: str) -> None:
        """End what runs without grace, whether or not a stop is under way."""
        self.stopping.merciless = True
        if self.state in {State.STARTING, State.RUNNING}:
            self.begin_stop(now, Sequel.STOPPED, why)
        elif self.state is State.STOPPING and self.pid is not None:
            self.stopping.redirect(self.stopping.sequel, why)
            self._go_on(now, self.stopping.advance(now))

    def cancel_probe(self) -> None:
        """Ask no more whether it is healthy."""
        if self.check.pause():
            self.emit(CancelProbe(self.id))

    def adopt(self, container: Container, now: float) -> None:
        """Read the policies from `container` from now on: see `Instance.adopt`."""
        old, self.container = self.container, container
        self.ledger.policy = container.restart
        self.stopping.policy = container.stop
        if self.state is State.BACKOFF and self.since is not None:
            self.retry_at = self.since + self.ledger.delay()
        before = self.check.state
        if self.check.adopt(container.health, container.startup, now):
            self.emit(CancelProbe(self.id))
        if self.check.state is not before:
            self.note(now, self.state, "its health check was changed")
        elif self.state is State.RUNNING and container.health != old.health:
            self._suffer(now, self.reason)

    # What the world says.

    def spawned(self, now: float, pid: int) -> None:
        """Take in that its command has been executed."""
        if not self.spawning:
            return
        self.spawning = False
        self.pid = pid
        self.started_at, self.finished_at = now, None
        if self.state is State.STOPPING:
            self.move(now, Trigger.SPAWNED, self.stopping.why)
            self._go_on(now, self.stopping.advance(now))
            return
        if not self.closing:
            self.check.begin(now)
        restarts = self.ledger.restarts
        self.move(now, Trigger.SPAWNED, f"started (restart {restarts})" if restarts else "started")

    def spawn_failed(self, now: float, reason: str, *, permanent: bool) -> None:
        """Take in that it could not be started, and nothing of it runs."""
        if not self.spawning:
            return
        self.spawning = False
        why = f"cannot start: {reason}"
        if self.state is State.STOPPING:
            self._ended_stopping(now, why)
        elif self.closing:
            self.move(now, Trigger.DOWN, f"{why}, while the fleet was stopping")
        elif permanent:
            self.move(now, Trigger.GIVE_UP, why)
        else:
            self._ended(now, why, why, None)

    def exited(self, now: float, status: ExitStatus) -> None:
        """Take in that its main process has ended, and everything in its cgroup with it."""
        if self.pid is None:
            return
        self.cancel_probe()
        self.check.forget()
        self.pid = None
        self.exit, self.finished_at = status, now
        if self.state is State.STOPPING:
            self._ended_stopping(now, str(status))
        elif self.container.kind is Kind.JOB and status.success:
            self.move(now, Trigger.COMPLETE, str(status))
        elif self.closing:
            self.move(now, Trigger.DOWN, f"{status} while the fleet was stopping")
        else:
            self._ended(now, str(status), words.last(status), status)

    def probe_finished(self, now: float, number: int, *, ok: bool, output: str) -> None:
        """Take in the answer to a probe, if it is to the one under way."""
        if self.check.awaits(number):
            self._take_answer(now, ok=ok, output=output)

    def stop_command_finished(self, now: float, *, ok: bool, output: str) -> None:
        """Take in that the stop command has ended, if that is what the stop waits for."""
        if self.state is State.STOPPING:
            step = self.stopping.command_finished(now, ok=ok, output=output)
            if step is not None:
                self._go_on(now, step)

    # What time brings.

    def advance(self, now: float) -> None:
        """Do what is due by now: the next step of a stop, the end of a long run, a probe."""
        if self.state is State.STOPPING:
            if self.stopping.due_at is not None and self.stopping.due_at <= now:
                self._go_on(now, self.stopping.advance(now))
        elif self.state is State.RUNNING and not self.closing:
            if self.too_long_at is not None and self.too_long_at <= now:
                limit = words.duration(self.container.max_runtime or 0.0)
                self._stop_as_failed(now, f"ran longer than {limit}")
            else:
                self._probe(now)

    def _probe(self, now: float) -> None:
        if self.check.overdue(now):
            self.emit(CancelProbe(self.id))
            self._take_answer(now, ok=False, output="the probe gave no answer")
        if self.check.due(now):
            number, probe, timeout = self.check.ask(now)
            self.emit(RunProbe(self.id, number, probe, timeout))

    # How a run ends.

    def _ended(self, now: float, why: str, last: str, status: ExitStatus | None) -> None:
        """Follow a run that ended by itself (None: did not start): again, never again, or fine."""
        success = status is not None and status.success
        refusal = self.ledger.refusal(success=success, code=_code(status))
        if refusal is None:
            self._retry(now, why, last, None if status is None else self._ran(now))
        else:
            self.move(now, Trigger.DOWN if success else Trigger.GIVE_UP, f"{why}, {refusal}")

    def _retry(self, now: float, why: str, last: str, ran: float | None) -> None:
        delay = self.ledger.next_delay(now, ran)
        if delay is not None:
            self.retry_at = now + delay
            self.move(now, Trigger.RETRY, why)
            return
        policy = self.ledger.policy
        done = words.count(policy.max or 0, "restart")
        within = words.duration(policy.window)
        self.move(now, Trigger.GIVE_UP, f"gave up: {done} within {within}, last {last}")

    def _ran(self, now: float) -> float:
        return now - (self.started_at if self.started_at is not None else now)

    def _ended_stopping(self, now: float, how: str) -> None:
        """Follow a stop that reached its end: its sequel was settled when it began, or since."""
        why = self.stopping.why
        match self.stopping.sequel:
            case Sequel.STOPPED:
                self.move(now, Trigger.DOWN, f"{why}, {how}")
            case Sequel.START:
                self.ledger.reset()
                self.move(now, Trigger.WAIT, f"{why}, {how}")
            case Sequel.RETRY:
                self._retry(now, f"{why}, {how}", why, self._ran(now))
            case Sequel.FAILED:
                self.move(now, Trigger.GIVE_UP, f"stopped: {why}, {how}")

    def _go_on(self, now: float, step: Step) -> None:
        """Let a stop go a step further."""
        if self.stopping.told != self.reason:
            self.move(now, Trigger.ESCALATE, self.stopping.told)
        self.emit(step)

    def _stop_as_failed(self, now: float, why: str) -> None:
        """Stop a run that has failed without ending; the restart policy says what follows."""
        again = self.ledger.refusal(success=False, code=None) is None
        self.begin_stop(now, Sequel.RETRY if again else Sequel.FAILED, why)

    # Health.

    def _take_answer(self, now: float, *, ok: bool, output: str) -> None:
        before = self.check.state
        self.check.answer(now, ok=ok, output=output)
        match self.check.state:
            case same if same is before:
                pass
            case HealthState.UNHEALTHY:
                failed = words.count(self.check.failures, "probe")
                why = f"unhealthy: {failed} failed in a row"
                self.note(now, self.state, why)
                self._suffer(now, why)
            case HealthState.HEALTHY:
                self.note(now, self.state, "healthy")
            case _:
                self.note(now, self.state, "it has started up: its health is asked for")

    def _suffer(self, now: float, why: str) -> None:
        """Do to a container, if it is unhealthy, what its policy says."""
        if self.check.state is not HealthState.UNHEALTHY or self.closing:
            return
        match self.check.on_failure:
            case OnUnhealthy.RESTART if self.container.restart.when is not RestartWhen.NO:
                self.begin_stop(now, Sequel.RETRY, why)
            case OnUnhealthy.STOP:
                self.begin_stop(now, Sequel.FAILED, why)
            case _:
                pass

    # The one way a state changes.

    def move(self, now: float, trigger: Trigger, reason: str) -> None:
        """Go along the table, and report it."""
        before, self.state = self.state, after(self.state, trigger)
        if self.state is not before:
            self.since = now
            self.held = False
        if self.state is not State.BACKOFF:
            self.retry_at = None
        if self.state in DOWN and self.timetable is not None:
            self.timetable.ended(now)
        self.note(now, before, reason)

    def note(self, now: float, before: State, reason: str) -> None:
        """Report what is so now, and why, after the state `before`."""
        self.reason = reason
        self.history.append(Transition(now, self.state, self.check.state, reason))
        self.emit(
            Report(self.id, before, self.state, self.check.state, reason, self.exit, self.retry_at)
        )


def _code(status: ExitStatus | None) -> int | None:
    """Return the exit code as a shell would have it, where there was an end and it was seen."""
    if status is None:
        return None
    return status.code if status.signal is None else SIGNALLED + status.signal
