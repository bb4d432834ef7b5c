"""One instance: what the fleet asks of it, and what time brings.

It knows its own container's policies and nothing of its neighbours; `core.py` looks at the gates
and calls `launch`. What the world says of it, `life.py` takes in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.fleet.model import Container, InstanceId, Kind
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.supervision.commands import Command
from anchor_supervisor.supervision.life import Life
from anchor_supervisor.supervision.lifecycle import DOWN, HELD, Trigger
from anchor_supervisor.supervision.schedule import Timetable
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.supervision.stop import Sequel

RESTING: Final = "waiting for its time"


class Due(enum.Enum):
    """What happens to an instance at a moment that is known beforehand."""

    RETRY = enum.auto()  # the next attempt
    STOP_STEP = enum.auto()  # a stop goes further
    PROBE = enum.auto()
    TOO_LONG = enum.auto()  # `max_runtime` is over
    RUN = enum.auto()  # a time of its schedule


@final
class Instance:
    """One replica of one container, as the fleet sees it. All times are monotonic seconds."""

    def __init__(
        self, identity: InstanceId, container: Container, emit: Callable[[Command], None]
    ) -> None:
        """Begin waiting for the fleet to be started; commands go to `emit`, in order."""
        self.id = identity
        self.life = Life(identity, container, emit)
        self._wall_offset = 0.0

    @property
    def container(self) -> Container:
        """What it is made of."""
        return self.life.container

    @property
    def state(self) -> State:
        """Where in its life it is."""
        return self.life.state

    @property
    def reason(self) -> str:
        """Why it is there."""
        return self.life.reason

    @property
    def health(self) -> HealthState:
        """What the probes have said so far in this run."""
        return self.life.check.state

    @property
    def name(self) -> str:
        """How a person calls it: `web`, or `web.2` where there are replicas."""
        single = self.container.replicas == 1 and self.id.replica == 1
        return self.container.name if single else str(self.id)

    @property
    def account(self) -> str:
        """Its state in a clause: ``` `db` has failed: gave up ...```."""
        state = "has failed" if self.state is State.FAILED else f"is {self.state}"
        return f"`{self.name}` {state}: {self.reason}"

    @property
    def ready(self) -> bool:
        """Whether it is what the file wants in the end: up and healthy, or a job that is done.

        A scheduled job is never done, so it holds nobody up.
        """
        if self.container.kind is Kind.JOB:
            return self.state is State.COMPLETED or self.life.timetable is not None
        return self.state is State.RUNNING and (
            not self.life.check.asks or self.health is HealthState.HEALTHY
        )

    @property
    def resting(self) -> bool:
        """Whether it waits for nothing but the next time of its schedule."""
        timetable = self.life.timetable
        return self.state is State.WAITING and timetable is not None and not timetable.called

    @property
    def over(self) -> bool:
        """Whether nothing of it runs, and nothing will until an operator asks."""
        timetable = self.life.timetable
        return self.state in DOWN and (timetable is None or timetable.suspended)

    def may_launch(self, now: float) -> bool:
        """Whether it is to be started as soon as its gates are open."""
        retry_at = self.life.retry_at
        due = retry_at is None or retry_at <= now
        return self.state in HELD and due and not self.resting

    # What the fleet asks.

    def begin(self, now: float, wall_offset: float = 0.0, last_run: float | None = None) -> None:
        """Join a fleet that is up, or has just been asked to be: from now on it may be launched.

        `wall_offset` and `last_run` (None: never) are those of FleetStartRequested.
        """
        self.life.since = now
        self._wall_offset = wall_offset
        if self.life.timetable is not None:
            self.life.timetable.begin(now, wall_offset, last_run)
            if self.resting:
                self.life.note(now, self.state, RESTING)

    def adopt(self, container: Container, now: float) -> None:
        """Be made of `container` from now on, in whatever state; the identity stays the same.

        What can be taken over while it runs is, and nothing that is known is lost: the counters
        of restarts, a grace that has begun, health where the probe is the same. A probe that is
        new, or another one, goes out at once; without one, health is `none` again. A run that is
        longer than the new `max_runtime` ends at once. A `backoff` becomes as long as the new
        policy has it, though the attempt that was granted is made. Another schedule counts from
        now. What only another run can take over is the caller's business, who ends this one.

        The caller looks at `deadline` afterwards (what is due by now is for `expire`), and at
        `may_launch`: a job that loses its schedule need not rest any longer.
        """
        self._adopt_schedule(container.schedule, now)
        self.life.adopt(container, now)

    def want(self, now: float, reason: str) -> None:
        """Make it wanted afresh, unless it is on its way already; counters start again."""
        life, rested = self.life, self.resting
        if life.timetable is not None:
            life.timetable.call(now)
        match self.state:
            case State.STOPPED | State.COMPLETED | State.FAILED | State.BACKOFF:
                life.ledger.reset()
                life.move(now, Trigger.WAIT, reason)
            case State.STOPPING if life.stopping.sequel is not Sequel.START:
                life.redirect_stop(now, Sequel.START, reason)
            case State.WAITING:
                life.ledger.reset()
                if rested:
                    life.note(now, self.state, reason)
            case _:
                pass

    def renew(self, now: float, reason: str) -> None:
        """Want it afresh, as it is made of something else now; but a schedule keeps its times."""
        if self.life.timetable is None or self.life.timetable.called:
            self.want(now, reason)

    def launch(self, now: float) -> None:
        """Start it: the caller has seen the gates open."""
        self.life.launch(now)

    def hold(self, now: float, reason: Callable[[], str], *, again: bool = False) -> None:
        """Keep it waiting, as a gate is closed. Reported once; a Status follows the wait.

        `again`: it waits for something else than before, so it is reported once more.
        """
        life = self.life
        if self.state is State.BACKOFF:
            life.move(now, Trigger.WAIT, reason())
        elif again or not life.held:
            life.note(now, self.state, reason())
        life.held = True

    def stop(self, now: float, reason: str, *, drain: float = 0.0) -> None:
        """Bring it down and keep it down, after `drain` seconds without new connections.

        It ends in `stopped`, with this reason; a job that is done stays `completed`. A schedule is
        suspended until the job is wanted again.
        """
        life, timetable = self.life, self.life.timetable
        suspends = timetable is not None and not timetable.suspended
        if timetable is not None:
            timetable.suspend()
        match self.state:
            case State.WAITING | State.BACKOFF | State.FAILED:
                life.move(now, Trigger.DOWN, reason)
            case State.STARTING | State.RUNNING:
                life.begin_stop(now, Sequel.STOPPED, reason, drain)
            case State.STOPPING if life.stopping.sequel is not Sequel.STOPPED:
                life.redirect_stop(now, Sequel.STOPPED, reason)
            case State.STOPPED | State.COMPLETED if suspends:
                life.note(now, self.state, f"{reason}: its schedule is suspended")
            case _:
                pass

    def restart(self, now: float, reason: str, *, drain: float = 0.0) -> None:
        """Stop it where it lives, and start it afresh in any case; `drain` as for `stop`.

        A stop leads to `waiting`, with counters at zero: between that report and its launch it
        can be made of something else.
        """
        if self.state in {State.STARTING, State.RUNNING}:
            self.life.begin_stop(now, Sequel.START, reason, drain)
        else:
            self.want(now, reason)

    def kill(self, now: float, reason: str) -> None:
        """End it without grace, as the fleet goes down."""
        self.close(now, reason)
        self.life.kill(now, reason)

    def close(self, now: float, reason: str) -> None:
        """Begin nothing new, as the fleet goes down; what runs is left for its turn."""
        self.life.closing = True
        self.life.cancel_probe()
        if self.state in HELD:
            self.life.move(now, Trigger.DOWN, reason)
        elif self.state is State.STOPPING:
            self.stop(now, reason)

    def set_clock(self, now: float, wall_offset: float) -> None:
        """Take in what the wall clock is ahead of the monotonic one; look at `deadline` again."""
        self._wall_offset = wall_offset
        if self.life.timetable is not None:
            self.life.timetable.set_clock(now, wall_offset)

    def take_queued(self, now: float) -> None:
        """Want the run that was queued while the last one was under way, if there is one.

        To be called once everybody has seen how the last one ended.
        """
        timetable = self.life.timetable
        if self.state in DOWN and timetable is not None and timetable.take_queued():
            self.life.ledger.reset()
            self.life.move(now, Trigger.WAIT, "its run was queued")

    # What time brings.

    def upcoming(self) -> tuple[float, Due] | None:
        """Return what happens next at a moment that is known: all that has a deadline is here.

        The launches that follow RETRY and RUN are the fleet's to decide.
        """
        life = self.life
        moments: list[tuple[float | None, Due]] = []
        match self.state:
            case State.BACKOFF:
                moments.append((life.retry_at, Due.RETRY))
            case State.STOPPING:
                moments.append((life.stopping.due_at, Due.STOP_STEP))
            case State.RUNNING if not life.closing:
                moments.append((life.check.deadline(), Due.PROBE))
                moments.append((life.too_long_at, Due.TOO_LONG))
            case _:
                pass
        if life.timetable is not None and not life.closing:
            moments.append((life.timetable.due_at, Due.RUN))
        known = [(at, due) for at, due in moments if at is not None]
        return min(known, key=lambda moment: moment[0], default=None)

    def deadline(self) -> float | None:
        """When `expire` is due."""
        upcoming = self.upcoming()
        return None if upcoming is None else upcoming[0]

    def expire(self, now: float) -> None:
        """Do what is due by now, except to launch, which is the fleet's to decide."""
        self.life.advance(now)
        timetable = self.life.timetable
        if timetable is None or timetable.due_at is None or self.life.closing:
            return
        if timetable.due_at <= now:
            self._come_due(now, timetable)

    def _come_due(self, now: float, timetable: Timetable) -> None:
        """Do what its schedule wants of it; in `waiting`, whoever called looks at the gates."""
        life = self.life
        match timetable.come_due(now):
            case None:
                life.ledger.reset()
                if self.state in DOWN:
                    life.move(now, Trigger.WAIT, "its time has come")
            case Overlap.SKIP:
                life.note(now, self.state, f"{self.reason}; a run was skipped, as this one goes on")
            case Overlap.QUEUE:
                life.note(now, self.state, f"{self.reason}; a run is queued until this one ends")
            case Overlap.REPLACE if self.state is not State.WAITING:
                self.restart(now, "replaced by its next run")
            case Overlap.REPLACE:
                pass

    def _adopt_schedule(self, schedule: Schedule | None, now: float) -> None:
        life = self.life
        if schedule is None:
            life.timetable = None
        elif life.timetable is not None:
            if schedule != life.timetable.policy:
                life.timetable.adopt(schedule, now)
        else:
            life.timetable = Timetable(schedule)
            if life.since is not None:
                life.timetable.begin(now, self._wall_offset, None)
                life.timetable.called = self.state not in DOWN
