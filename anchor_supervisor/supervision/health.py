"""What the probes of one instance mean: the arithmetic of `startup = {...}` and `health = {...}`.

It says when a probe is due and what an answer changes. It runs no probe and stops no container.

`startup` is asked until it succeeds, then `health`; either alone will do. Two rhythms. Until the
first success a probe follows the one before by 50 ms, later by a tenth of the time since the
beginning, up to `interval`: dependents are released as soon as the container is ready, and one that
takes a minute is asked some eighty times, not a thousand. Such quick looks must not condemn a slow
starter: until the first success a failure counts only when a whole `interval` has passed since the
beginning (or the last one that counted), and when `start_period` is over. After the first success
every probe counts and follows the one before by `interval`.

A `log` or `notify` probe has no rhythm: it waits until what it looks for is there, so it is asked
once, again only when its timeout was over, and never after it has succeeded.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, final

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import (
    Health,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    Probe,
    Startup,
)
from anchor_supervisor.supervision.states import HealthState
from anchor_supervisor.values import frozen

FIRST_PAUSE: Final = 0.05
"""Seconds between the first probe and the second, and as long as it is more than SHARE."""

SHARE: Final = 0.1
"""The pause before the next quick look, as a share of the time since the first."""

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


class Turn(enum.Enum):
    """Which of the tables is asked in this run."""

    NONE = enum.auto()  # neither: there is none, or nothing runs
    STARTUP = enum.auto()
    HEALTH = enum.auto()


@final
class HealthCheck:
    """The health of one instance, run after run. Without a table nothing is asked, ever.

    Probe numbers never repeat, so an answer that belongs to an earlier run is told apart.
    """

    def __init__(self, health: Health | None, startup: Startup | None = None) -> None:
        """Begin idle: `begin` is called at each start."""
        self.health, self.startup = health, startup
        self.turn = Turn.NONE
        self.state = HealthState.NONE
        self.failures = 0
        self.results: deque[ProbeResult] = deque(maxlen=KEPT_RESULTS)
        self._running = False
        self._number = 0
        self._asked_at: float | None = None
        self._patience_ends = 0.0
        self._due_at: float | None = None
        self._begun_at = 0.0
        self._proven = False
        self._counts_from = 0.0

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask: without it, to be up is to be well."""
        return self.health is not None or self.startup is not None

    @property
    def table(self) -> Health | Startup | None:
        """The table whose turn it is; where nothing is asked, the one whose turn comes first."""
        match self.turn:
            case Turn.STARTUP:
                return self.startup
            case Turn.HEALTH:
                return self.health
            case Turn.NONE:
                return self.startup or self.health

    @property
    def on_failure(self) -> OnUnhealthy:
        """What becomes of an unhealthy container; `health` says it, also for `startup`."""
        return self.health.on_failure if self.health is not None else OnUnhealthy.RESTART

    def begin(self, now: float) -> None:
        """Begin a run: the first probe is due at once."""
        self._running = True
        self._begin_turn(now, started=False)

    def pause(self) -> bool:
        """Ask no more in this run; return whether a probe was under way."""
        self._running = False
        return self._drop()

    def forget(self) -> None:
        """End a run: nothing is known any more, except the answers a person may want to read."""
        self.pause()
        self.turn = Turn.NONE
        self.state = HealthState.NONE
        self.failures = 0

    def adopt(self, health: Health | None, startup: Startup | None, now: float) -> bool:
        """Take over changed tables; return whether the probe under way must be given up.

        What this run has shown stays true where its probe is the same as before. A probe that is
        new, or another one, is asked at once, but `startup` not once `health` has had its turn.
        """
        old, old_startup = self.table, self.startup
        self.health, self.startup = health, startup
        if not self._running:
            return False
        if self.turn is not Turn.NONE and _same(old, self.table):
            self._take_figures(now)
            return False
        under_way = self._drop()
        if self.turn is Turn.HEALTH and health is None and _same(old_startup, startup):
            self.turn, self.state, self.failures = Turn.STARTUP, HealthState.HEALTHY, 0
        else:
            self._begin_turn(now, started=self.turn is Turn.HEALTH)
        return under_way

    def deadline(self) -> float | None:
        """When something must be done: the next probe, or the end of patience with this one."""
        return self._patience_ends if self._asked_at is not None else self._due_at

    def overdue(self, now: float) -> bool:
        """Whether the probe under way should have been answered by now."""
        return self._asked_at is not None and self._patience_ends <= now

    def due(self, now: float) -> bool:
        """Whether the next probe should go out now."""
        return self._asked_at is None and self._due_at is not None and self._due_at <= now

    def ask(self, now: float) -> tuple[int, Probe, float]:
        """Note that a probe goes out, and return its number, what it is, and its timeout."""
        table = self._asked()
        self._number += 1
        self._asked_at = now
        self._patience_ends = now + table.timeout + ANSWER_GRACE
        self._due_at = None
        return self._number, table.probe, table.timeout

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
        if ok and self.turn is Turn.STARTUP and self.health is not None:
            self._begin_turn(now, started=True)
            return
        if ok:
            self._proven = True
            self.failures = 0
            self.state = HealthState.HEALTHY
        elif self._proven or (now if self._once else asked_at) >= self._counts_from:
            self.failures += 1
            self._counts_from = asked_at + self._interval
            if self.failures >= self._asked().retries:
                self.state = HealthState.UNHEALTHY
        self._due_at = self._next_due(now, asked_at)

    @property
    def _interval(self) -> float:
        """How far apart failures count; one that has waited for its whole timeout does."""
        table = self._asked()
        return max(table.timeout if self._once else table.interval, FIRST_PAUSE)

    @property
    def _once(self) -> bool:
        """Whether the present probe waits for what it looks for, instead of looking again."""
        return isinstance(self._asked().probe, LogProbe | NotifyProbe)

    def _asked(self) -> Health | Startup:
        table = self.table
        if table is None:
            message = "a probe was asked for where there is none"
            raise SupervisionBug(message)
        return table

    def _begin_turn(self, now: float, *, started: bool) -> None:
        """Turn to `startup`, or, once the container has `started`, to `health`; or to what is."""
        self.failures = 0
        self._proven = False
        self._begun_at = now
        tables = [(Turn.STARTUP, self.startup), (Turn.HEALTH, self.health)]
        turns = [turn for turn, table in tables if table is not None]
        self.turn = (turns[-1] if started else turns[0]) if turns else Turn.NONE
        if self.turn is Turn.NONE:
            self.state = HealthState.NONE
            return
        self.state = HealthState.STARTING
        self._due_at = now
        self._counts_from = now + max(self._interval, self._start_period)

    def _take_figures(self, now: float) -> None:
        """Go on asking the same, in another rhythm."""
        if self._due_at is not None:
            self._due_at = min(self._due_at, now + self._interval)
        if not self._proven:
            from_now = now + max(self._interval, self._start_period)
            self._counts_from = min(self._counts_from, from_now)
        elif self.turn is Turn.STARTUP and self.health is not None:
            self._begin_turn(now, started=True)

    @property
    def _start_period(self) -> float:
        return self.health.start_period if self.turn is Turn.HEALTH and self.health else 0.0

    def _drop(self) -> bool:
        under_way = self._asked_at is not None
        self._asked_at = self._due_at = None
        return under_way

    def _next_due(self, now: float, asked_at: float) -> float | None:
        if self._proven:
            finished = self._once or self.turn is Turn.STARTUP
            return None if finished else now + self._interval
        pause = min(max(FIRST_PAUSE, SHARE * (now - self._begun_at)), self._interval)
        if self._once:  # one that failed before its time was over must not be asked in a circle
            return max(now, asked_at + min(pause, self._asked().timeout))
        due = now + pause
        # The failure that may count is asked for exactly when it counts, not a long pause later.
        return min(due, self._counts_from) if self._counts_from > now else due


def _same(one: Health | Startup | None, other: Health | Startup | None) -> bool:
    """Whether both ask the same, in whatever rhythm."""
    return one is not None and other is not None and one.probe == other.probe
