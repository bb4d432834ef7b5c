"""Waiting for what the kernel or another process does in its own time. Never a sleep in a test.

A test that waits here states a property ("within the deadline this holds"), not a guess about
speed: `eventually` returns the moment the property holds, and fails with the last thing it saw.
Polling is right only for what offers no event to wait on: the kernel takes a network namespace and
its veths down in a work queue after the last reference is gone (`cleanup_net`), and another
process's progress is seen only by asking. What must hold *at once* is asserted without this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLOWNESS: Final = float(os.environ.get("ANCHOR_TEST_SLOWNESS", "1"))
"""How much slower than a real machine this one is; an emulated one says so."""

DEADLINE: Final = 10.0 * SLOWNESS
"""Seconds. Far above what anything takes, so that only a wrong answer ever runs into it."""


def eventually(
    look: Callable[[], T],
    good: Callable[[T], bool] = bool,
    *,
    what: str,
    deadline: float = DEADLINE,
) -> T:
    """Look until `good(look())`, and return what was seen; fail after `deadline` seconds."""
    ends = time.monotonic() + deadline
    pause = 0.002
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > ends:
            message = f"after {deadline:g} s still not: {what}; last seen: {seen!r}"
            raise AssertionError(message)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
