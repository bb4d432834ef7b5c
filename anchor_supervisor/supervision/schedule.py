"""When a scheduled job runs: the arithmetic of `schedule = {...}`.

It keeps the times of one job and says what they ask for; it starts and arms nothing. All times are
monotonic seconds, but for those of `cron`, which are a wall clock's (seconds since the epoch): what
that is ahead of the monotonic clock is told, at the start and whenever somebody sets the clock.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Final, final

from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.values import frozen

CORRECTION: Final = 3 * 3600.0
"""A clock that is set by less than so many seconds has been put right: no run is lost or repeated.
One that is set by more was wrong altogether, and the times count from its new reading."""


@final
@frozen
class ScheduleStatus:
    """What is known of a schedule. `due_at`: the next time, in monotonic seconds.

    `queued`: a run waits for the one under way to end. `skipped` counts the runs that were not
    made because one was under way. `suspended`: it rests until an operator starts the job.
    """

    due_at: float | None
    queued: bool
    skipped: int
    suspended: bool


@final
class Timetable:
    """The runs of one scheduled job. `called`: a run is wanted, or under way.

    `due_at` is None while the next time does not matter: before the fleet is up, while suspended,
    and once it is settled what becomes of the times that pass during the present run.
    """

    def __init__(self, policy: Schedule) -> None:
        """Begin with no times at all: `begin` is called when the fleet is up."""
        self.policy = policy
        self.called = False
        self.queued = False
        self.skipped = 0
        self.suspended = False
        self.due_at: float | None = None
        self._wall_offset = 0.0
        self._grid_from = 0.0
        self._done_until = -math.inf
        self._due_wall = -math.inf

    def begin(self, now: float, wall_offset: float, last_run: float | None) -> None:
        """Count from now; `last_run` is the wall second at which it last began, ever.

        `every` calls for a run at once, `cron` where a time was missed since and `catch_up` is set.
        """
        self._grid_from = now
        self._wall_offset = wall_offset
        self.called = self.policy.cron is None
        if self.policy.cron is not None and last_run is not None:
            self._done_until = last_run
            due = self._after_wall(last_run)
            missed = due is not None and due <= now + wall_offset
            self.called = self.policy.catch_up and missed
        self.resume(now)

    def call(self, now: float) -> None:
        """Note that a run is wanted now, by an operator or because its time has come."""
        self.called = True
        if self.suspended:
            self.suspended = False
            self.resume(now)

    def suspend(self) -> None:
        """Rest until an operator calls for a run."""
        self.suspended = True
        self.queued = False
        self.due_at = None

    def resume(self, now: float) -> None:
        """Find the next time after now."""
        self.due_at = None
        if self.policy.cron is None:
            self.due_at = self._next_on_grid(now)
            return
        self._forget_what_is_far(now)
        wall = self._after_wall(max(now + self._wall_offset, self._done_until))
        if wall is not None:
            self._due_wall = wall
            self.due_at = wall - self._wall_offset

    def come_due(self, now: float) -> Overlap | None:
        """Take the time that has come: None calls for a run, the rest is for the one under way."""
        self._done_until = max(self._done_until, self._due_wall)
        if not self.called:
            self.called = True
            self.resume(now)
            return None
        match self.policy.overlap:
            case Overlap.SKIP:
                self.skipped += 1
                self.due_at = None
            case Overlap.QUEUE:
                self.queued = True
                self.due_at = None
            case Overlap.REPLACE:
                self.resume(now)
        return self.policy.overlap

    def ended(self, now: float) -> None:
        """Note that the run is over; times that passed unseen during it are treated as they are."""
        if self.suspended:
            self.called = False
            return
        if self.due_at is not None and self.due_at <= now:
            self.come_due(now)
            self.queued = self.queued or self.policy.overlap is Overlap.REPLACE
        self.called = False
        self.resume(now)

    def take_queued(self) -> bool:
        """Whether a run was queued; it is called for now."""
        if not self.queued:
            return False
        self.queued = False
        self.called = True
        return True

    def set_clock(self, now: float, wall_offset: float) -> None:
        """Take in that the wall clock was set. A time of `cron` that was jumped over is due now."""
        before, after = now + self._wall_offset, now + wall_offset
        self._wall_offset = wall_offset
        if self.policy.cron is None or self.due_at is None:
            return
        jumped = self._due_wall > before and self._due_wall <= after
        if jumped and (after - before < CORRECTION or self.policy.catch_up):
            self.due_at = now
        else:
            self.resume(now)

    def adopt(self, policy: Schedule, now: float) -> None:
        """Take over another schedule, once begun: the next time is one of its own, after now."""
        self.policy = policy
        if not self.suspended:
            self.resume(now)

    @property
    def status(self) -> ScheduleStatus:
        """What is known of it, as a value."""
        return ScheduleStatus(self.due_at, self.queued, self.skipped, self.suspended)

    def _next_on_grid(self, now: float) -> float | None:
        every = self.policy.every
        if every is None:
            return None
        steps = math.floor((now - self._grid_from) / every) + 1
        due = self._grid_from + steps * every
        return due if due > now else due + every

    def _forget_what_is_far(self, now: float) -> None:
        """Let times that the clock will not reach for hours count as never reached."""
        if self._done_until - (now + self._wall_offset) >= CORRECTION:
            self._done_until = -math.inf

    def _after_wall(self, wall: float) -> float | None:
        """Return the first time of `cron` after this wall second; None: there is none."""
        # Most fleets have no schedule, and need not wait for this at every start.
        from cronsim import CronSim

        if self.policy.cron is None:
            return None
        moments = CronSim(self.policy.cron, dt.datetime.fromtimestamp(wall, self.policy.timezone))
        # An hour that a zone has twice may be answered by its first passage, which is over.
        return next((at for moment in moments if (at := moment.timestamp()) > wall), None)
