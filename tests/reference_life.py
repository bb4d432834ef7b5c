"""One instance of the reference, and what becomes of it by itself."""

from __future__ import annotations

from typing import Final, final

from attrs import Factory, define

from anchor_supervisor.fleet.model import (
    Container,
    InstanceId,
    Kind,
    OnUnhealthy,
    RestartWhen,
)
from anchor_supervisor.supervision.events import Exited, ProbeFinished, Spawned, SpawnFailed
from anchor_supervisor.supervision.states import HealthState, State
from reference_update import Update

UP: Final = (State.STARTING, State.RUNNING)
DOWN: Final = (State.STOPPED, State.COMPLETED, State.FAILED)


@final
@define(eq=False)
class Thing:
    """One instance: what it is made of, what it should be made of, and what goes on with it."""

    id: InstanceId
    made: Container
    goal: Container
    state: State = State.WAITING
    health: HealthState = HealthState.NONE
    pid: int | None = None
    spawning: bool = False
    after_stop: str = ""
    since: float = 0.0
    started_at: float = 0.0
    retry_at: float = 0.0
    starts: int = 0
    streak: int = 0
    restarts: list[float] = Factory(list)
    failures: int = 0
    proven: bool = False
    counts_from: float = 0.0
    asked_at: float | None = None
    parked: bool = False
    ran: bool = False
    comes_back: bool = False
    leaves_in: int = 0
    needs: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it is what the file wants in the end."""
        if self.made.kind is Kind.JOB:
            return self.state is State.COMPLETED
        well = HealthState.NONE if self.made.health is None else HealthState.HEALTHY
        return self.state is State.RUNNING and self.health is well


class Lives:
    """What is done with one instance, and what it does; `phase` and `now` are the fleet's."""

    def __init__(self) -> None:
        """Begin before the start."""
        self.phase = "idle"
        self.now = 0.0
        self.updates: dict[str, Update] = {}

    def note(self, event: Spawned | SpawnFailed | Exited | ProbeFinished, thing: Thing) -> None:
        """Take in what the world says of it."""
        match event:
            case Spawned(pid=pid) if thing.spawning:
                thing.spawning, thing.pid, thing.started_at = False, pid, self.now
                thing.ran = True
                if thing.state is State.STARTING:
                    if self.phase == "up":
                        self._begin_health(thing)
                    self.put(thing, State.RUNNING)
            case SpawnFailed(permanent=permanent) if thing.spawning:
                thing.spawning = False
                if thing.state is State.STOPPING:
                    self._stopped(thing)
                elif self.phase != "up":
                    self.put(thing, State.STOPPED)
                elif permanent:
                    self.put(thing, State.FAILED)
                else:
                    self._ended(thing, success=False, good=False)
            case Exited(status=status) if thing.pid is not None:
                thing.pid, thing.asked_at, thing.health = None, None, HealthState.NONE
                good = self.now - thing.started_at >= thing.made.restart.reset_after
                if thing.state is State.STOPPING:
                    self._stopped(thing)
                elif thing.made.kind is Kind.JOB and status.code == 0:
                    self.put(thing, State.COMPLETED)
                elif self.phase != "up":
                    self.put(thing, State.STOPPED)
                else:
                    self._ended(thing, success=status.code == 0, good=good)
            case ProbeFinished(ok=ok) if thing.asked_at is not None:
                self._answer(thing, ok=ok)
            case _:
                pass

    # One instance.

    def put(self, thing: Thing, state: State) -> None:
        """Change its state."""
        if thing.ran and thing.state in (State.RUNNING, State.STOPPING, *DOWN):
            thing.comes_back = thing.comes_back or state in (State.WAITING, State.BACKOFF)
        thing.state, thing.since = state, self.now
        self._tell(thing)

    def _tell(self, thing: Thing) -> None:
        update = self.updates.get(thing.id.container)
        if update is not None and not update.result and not thing.leaves_in:
            update.notice(thing)

    def want(self, thing: Thing) -> None:
        """Make it wanted afresh."""
        if thing.state in UP:
            return
        if thing.state is State.STOPPING:
            thing.after_stop = "start"
            return
        thing.starts = thing.streak = 0
        thing.restarts = []
        if thing.state is not State.WAITING:
            self.put(thing, State.WAITING)

    def stop(self, thing: Thing) -> None:
        """Bring it down for good."""
        if thing.state in UP:
            self._begin_stop(thing, "stopped")
        elif thing.state is State.STOPPING:
            thing.after_stop = "stopped"
        elif thing.state in (State.WAITING, State.BACKOFF, State.FAILED):
            self.put(thing, State.STOPPED)

    def restart(self, thing: Thing) -> None:
        """Bring it down and up again."""
        if thing.state in UP:
            self._begin_stop(thing, "start")
        else:
            self.want(thing)

    def _begin_stop(self, thing: Thing, after: str) -> None:
        thing.after_stop, thing.asked_at = after, None
        self.put(thing, State.STOPPING)

    def _stopped(self, thing: Thing) -> None:
        if thing.after_stop == "start":
            thing.starts = thing.streak = 0
            thing.restarts = []
            self.put(thing, State.WAITING)
        elif thing.after_stop == "retry":
            good = self.now - thing.started_at >= thing.made.restart.reset_after
            self._retry(thing, good=good)
        else:
            self.put(thing, State.STOPPED if thing.after_stop == "stopped" else State.FAILED)

    def _ended(self, thing: Thing, *, success: bool, good: bool) -> None:
        when = thing.made.restart.when
        if when is RestartWhen.ALWAYS or (when is RestartWhen.ON_FAILURE and not success):
            self._retry(thing, good=good)
        else:
            self.put(thing, State.STOPPED if success else State.FAILED)

    def _retry(self, thing: Thing, *, good: bool) -> None:
        policy = thing.made.restart
        thing.streak = 0 if good else thing.streak + 1
        recent = [at for at in thing.restarts if at > self.now - policy.window]
        if policy.max is not None and len(recent) >= policy.max:
            self.put(thing, State.FAILED)
            return
        self.put(thing, State.BACKOFF)
        thing.retry_at = self.now + _delay(thing)

    # Its health.

    def _begin_health(self, thing: Thing) -> None:
        thing.failures, thing.proven, thing.asked_at = 0, False, None
        policy = thing.made.health
        thing.health = HealthState.NONE if policy is None else HealthState.STARTING
        if policy is not None:
            thing.counts_from = self.now + max(policy.interval, policy.start_period)

    def lose_patience(self, thing: Thing) -> None:
        """Take a probe that nobody answers as failed."""
        policy = thing.made.health
        if (
            policy
            and thing.asked_at is not None
            and self.now >= thing.asked_at + policy.timeout + 1
        ):
            self._answer(thing, ok=False)

    def _answer(self, thing: Thing, *, ok: bool) -> None:
        policy, asked_at, before = thing.made.health, thing.asked_at, thing.health
        thing.asked_at = None
        if policy is None or asked_at is None:
            return
        if ok:
            thing.proven, thing.failures, thing.health = True, 0, HealthState.HEALTHY
        elif thing.proven or asked_at >= thing.counts_from:
            thing.failures += 1
            thing.counts_from = asked_at + policy.interval
            if thing.failures >= policy.retries:
                thing.health = HealthState.UNHEALTHY
        if thing.health is not before:
            self._tell(thing)
            if thing.health is HealthState.UNHEALTHY:
                self._suffer(thing)

    def _suffer(self, thing: Thing) -> None:
        policy = thing.made.health
        if policy is None or thing.state is not State.RUNNING:
            return
        never = thing.made.restart.when is RestartWhen.NO
        if policy.on_failure is OnUnhealthy.STOP:
            self._begin_stop(thing, "failed")
        elif policy.on_failure is OnUnhealthy.RESTART and not never:
            self._begin_stop(thing, "retry")

    def adopt(self, thing: Thing, container: Container) -> None:
        """Let it be made of something else from now on."""
        old, thing.made = thing.made, container
        if thing.state is State.BACKOFF:
            thing.retry_at = thing.since + _delay(thing)
        if thing.state is not State.RUNNING or old.health == container.health:
            return
        if old.health and container.health and old.health.probe == container.health.probe:
            if not thing.proven:
                thing.counts_from = min(thing.counts_from, self.now + container.health.interval)
            if thing.health is HealthState.UNHEALTHY:
                self._suffer(thing)
        else:
            self._begin_health(thing)
            self._tell(thing)


def _delay(thing: Thing) -> float:
    policy = thing.made.restart
    if thing.streak == 0:
        return 0.0
    return min(policy.delay * policy.factor ** (thing.streak - 1), policy.max_delay)
