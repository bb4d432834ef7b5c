"""Whether and when a run that ended is tried again: the arithmetic of `restart = {...}`.

It keeps the counters of one instance and answers questions; it starts nothing and arms nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final, final

from anchor_supervisor.fleet.model import InstanceId, RestartPolicy, RestartWhen

KEPT: Final = 1000
"""How many restarts are remembered where the policy sets no `max`; more would only cost memory."""


@final
class Ledger:
    """The restarts of one instance since it was last asked for.

    `policy` may be exchanged at any time: what has been counted stays. `starts` counts launches,
    `streak` the runs in a row that ended before `reset_after`.
    """

    def __init__(self, instance: InstanceId, policy: RestartPolicy) -> None:
        """Begin with nothing counted."""
        self._instance = instance
        self.policy = policy
        self.starts = 0
        self.streak = 0
        self._restarted_at: deque[float] = deque()

    @property
    def restarts(self) -> int:
        """Launches after the first one."""
        return max(0, self.starts - 1)

    def reset(self) -> None:
        """Forget everything: an operator has asked, so the next launch is a first one."""
        self.starts = 0
        self.streak = 0
        self._restarted_at.clear()

    def launched(self, now: float) -> int:
        """Count a launch and return which one it is, from 1."""
        self.starts += 1
        if self.starts > 1:
            self._restarted_at.append(now)
            if self.policy.max is None and len(self._restarted_at) > KEPT:
                self._restarted_at.popleft()
        return self.starts

    def refusal(self, *, success: bool, code: int | None) -> str | None:
        """Return in words why the policy does not restart after such an end, counters aside.

        None: it does. `code` is the exit code, 128 + N for an end by signal N, and None where the
        end had none (it could not be started, was stopped for a reason of ours, or nobody saw it).
        """
        when = self.policy.when
        if when is RestartWhen.NO or (when is RestartWhen.ON_FAILURE and success):
            return f"policy {when}"
        if code is None:
            return None
        if code in self.policy.never_on_exit_codes:
            return f"policy {when}, but never after exit code {code}"
        listed = self.policy.on_exit_codes
        if listed is not None and code not in listed:
            return f"policy {when}, but not after exit code {code}"
        return None

    def next_delay(self, now: float, ran: float | None) -> float | None:
        """Count a run of `ran` seconds that ended now; return the seconds to wait before the next.

        `ran` is None for a start that failed. None is returned where the window holds `max`
        restarts already: give up.
        """
        good = ran is not None and ran >= self.policy.reset_after
        self.streak = 0 if good else self.streak + 1
        if self.policy.max is not None and self.in_window(now) >= self.policy.max:
            return None
        return self.delay()

    def delay(self) -> float:
        """Return the seconds between the end of the last run and the next one: 0 after a good one.

        The same until the next launch, unless the policy is exchanged.
        """
        if self.streak == 0 or not self.policy.delay:
            return 0.0
        grown = grown_delay(self.policy, self.streak - 1)
        return grown * (1 + self.policy.jitter * self._fraction())

    def in_window(self, now: float) -> int:
        """Restarts within the last `window` seconds."""
        while self._restarted_at and self._restarted_at[0] <= now - self.policy.window:
            self._restarted_at.popleft()
        return len(self._restarted_at)

    def _fraction(self) -> float:
        """Return a number in [-1, 1) that differs per instance and attempt, and is ever the same.

        Replicas that fell together must not come back together; a random number would do that
        too, but could be neither tested nor explained.
        """
        digest = hashlib.blake2b(f"{self._instance}:{self.starts}".encode(), digest_size=4).digest()
        return int.from_bytes(digest) / 2**31 - 1


def grown_delay(policy: RestartPolicy, failures: int) -> float:
    """Return ``delay * factor ** failures`` in seconds, at most `max_delay`; without the jitter."""
    try:
        grown = policy.delay * policy.factor**failures
    except OverflowError:  # a float that grew for a thousand failures
        return policy.max_delay
    return min(grown, policy.max_delay)
