"""What the probes of one instance mean: the arithmetic of `health = {...}`.

It says when a probe is due and what an answer changes. It runs no probe and stops no container.

Two rhythms. Until the first success a probe follows the one before by 50 ms, then 100, 200, ... up
to `interval`, so that dependents are released as soon as the container is ready. Such quick looks
must not condemn a slow starter: until the first success a failure counts only when a whole
`interval` has passed since the start (or the last one that counted), and when `start_period` is
over. After the first success every probe counts and follows the one before by `interval`.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from attrs import frozen

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Health
from anchor_supervisor.supervision.states import HealthState

FIRST_PAUSE: Final = 0.05
"""Seconds between the first probe and the second; doubles until `interval`."""

ANSWER_GRACE: Final = 1.0
"""Seconds beyond `timeout` after which a probe that nobody answered counts as failed."""

KEPT_RESULTS: Final = 3
KEPT_OUTPUT: Final = 4096
"""Characters of a probe's output that are kept: its end, where the error is."""


@final
@frozen
class ProbeResult:
    """One answer. `at` in monotonic seconds."""

    at: float
    ok: bool
    output: str


@final
class HealthCheck:
    """The health of one instance, run after run.

    Probe numbers never repeat, so an answer that belongs to an earlier run is told apart.
    """

    def __init__(self, policy: Health) -> None:
        """Begin idle: `begin` is called at each start."""
        self.policy = policy
        self._interval = max(policy.interval, FIRST_PAUSE)
        self.state = HealthState.NONE
        self.failures = 0
        self.results: deque[ProbeResult] = deque(maxlen=KEPT_RESULTS)
        self._number = 0
        self._asked_at: float | None = None
        self._due_at: float | None = None
        self._pause = FIRST_PAUSE
        self._proven = False
        self._started_at = 0.0
        self._counts_from = 0.0

    def begin(self, now: float) -> None:
        """Begin a run: the first probe is due at once."""
        self.state = HealthState.STARTING
        self.failures = 0
        self._asked_at = None
        self._due_at = now
        self._pause = FIRST_PAUSE
        self._proven = False
        self._started_at = now
        self._counts_from = now + max(self._interval, self.policy.start_period)

    def pause(self) -> bool:
        """Ask no more in this run; return whether a probe was under way."""
        under_way = self._asked_at is not None
        self._asked_at = self._due_at = None
        return under_way

    def forget(self) -> None:
        """End a run: nothing is known any more, except the answers a person may want to read."""
        self.pause()
        self.state = HealthState.NONE
        self.failures = 0

    def deadline(self) -> float | None:
        """When something must be done: the next probe, or the end of patience with this one."""
        if self._asked_at is not None:
            return self._asked_at + self.policy.timeout + ANSWER_GRACE
        return self._due_at

    def overdue(self, now: float) -> bool:
        """Whether the probe under way should have been answered by now."""
        deadline = self.deadline()
        return self._asked_at is not None and deadline is not None and deadline <= now

    def due(self, now: float) -> bool:
        """Whether the next probe should go out now."""
        return self._asked_at is None and self._due_at is not None and self._due_at <= now

    def ask(self, now: float) -> int:
        """Note that a probe goes out, and return its number."""
        self._number += 1
        self._asked_at = now
        self._due_at = None
        return self._number

    def awaits(self, number: int) -> bool:
        """Whether this is the number of the probe under way."""
        return self._asked_at is not None and number == self._number

    def answer(self, now: float, *, ok: bool, output: str) -> None:
        """Take the answer to the probe under way: `state` and `failures` say what it means."""
        if self._asked_at is None:
            message = "an answer was taken while no probe was under way"
            raise SupervisionBug(message)
        asked_at, self._asked_at = self._asked_at, None
        self.results.append(ProbeResult(now, ok, output[-KEPT_OUTPUT:]))
        if ok:
            self._proven = True
            self.failures = 0
            self.state = HealthState.HEALTHY
        elif self._proven or asked_at >= self._counts_from:
            self.failures += 1
            self._counts_from = asked_at + self._interval
            if self.failures >= self.policy.retries:
                self.state = HealthState.UNHEALTHY
        self._due_at = self._next_due(now)

    def _next_due(self, now: float) -> float:
        if self._proven:
            return now + self._interval
        pause, self._pause = self._pause, min(self._pause * 2, self._interval)
        due = now + min(pause, self._interval)
        # The failure that may count is asked for exactly when it counts, not a long pause later.
        return min(due, self._counts_from) if self._counts_from > now else due
