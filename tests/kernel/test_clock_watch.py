"""The wall clock as something to wait for."""

from __future__ import annotations

import select
import time

import pytest

from anchor_supervisor.kernel.clock_watch import ClockWatch
from real_fleet import open_descriptors
from waiting import DEADLINE


def readable(watch: ClockWatch, seconds: float) -> bool:
    """Whether there is something to take within this time."""
    return bool(select.select([watch], [], [], seconds)[0])


def test_at_rest_nothing_is_told() -> None:
    """A clock that nobody sets wakes nobody, and a look does not block."""
    descriptors = open_descriptors()
    with ClockWatch() as watch:
        assert not readable(watch, 0)
        assert not watch.take_changed()
    assert open_descriptors() == descriptors


@pytest.mark.vm
def test_every_step_of_the_clock_is_told() -> None:
    """Forward and back; once each, and a step while nobody looked is not lost."""
    now = time.clock_gettime(time.CLOCK_REALTIME)
    with ClockWatch() as watch:
        try:
            for step in (3600.0, -7200.0):
                time.clock_settime(time.CLOCK_REALTIME, now + step)
                assert readable(watch, DEADLINE)
                assert watch.take_changed()
                assert not watch.take_changed()
                assert not readable(watch, 0)
        finally:
            time.clock_settime(time.CLOCK_REALTIME, now)
        assert watch.take_changed()
