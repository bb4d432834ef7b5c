"""What the core learns of the wall clock, and when."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC

import pytest
import trio
import trio.testing

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind, Kind
from anchor_supervisor.fleet.schedule_model import Schedule
from anchor_supervisor.runtime import wall_clock
from anchor_supervisor.runtime.wall_clock import WallClock, wall_offset
from anchor_supervisor.supervision import events
from log_lines import captured_logs
from waiting import DEADLINE

HOST = Image(ImageKind.HOST, "host")
SERVICE = Fleet("shop", {"web": Container("web", HOST)}, {})
DAILY = Schedule(cron="0 3 * * *", timezone=UTC)
SCHEDULED = Fleet("shop", {"job": Container("job", HOST, kind=Kind.JOB, schedule=DAILY)}, {})


class Timer:
    """A clock watch that a test sets off."""

    def __init__(self) -> None:
        self.steps = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __enter__(self) -> Timer:
        return self

    def __exit__(self, *_: object) -> None:
        """The test closes it."""

    def fileno(self) -> int:
        """What is waited for."""
        return self.steps

    def take_changed(self) -> bool:
        """Once for every step."""
        try:
            return os.eventfd_read(self.steps) > 0
        except BlockingIOError:
            return False


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timer]:
    """A timer in place of the kernel's."""
    made = Timer()
    monkeypatch.setattr(wall_clock, "ClockWatch", lambda: made)
    yield made
    os.close(made.steps)


async def test_the_offset_leads_to_the_wall() -> None:
    """The loop's time and the offset make the wall clock's reading."""
    assert trio.current_time() + wall_offset() == pytest.approx(time.time(), abs=1.0)


async def test_nobody_watches_without_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that never asks for the time of day has no timer."""
    monkeypatch.setattr(wall_clock, "ClockWatch", lambda: pytest.fail("a timer was made"))
    posted: list[events.Event] = []
    clock = WallClock(posted.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.watch)
        clock.follow(SERVICE)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert posted == []


async def test_a_step_is_told(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new offset at once, and by how much it differs; from when the first schedule comes."""
    offset = [100.0]
    monkeypatch.setattr(wall_clock, "wall_offset", lambda: offset[0])
    send, inbox = trio.open_memory_channel[events.Event](10)
    steps: list[float] = []
    clock = WallClock(send.send_nowait, steps.append)
    clock._offset = 100.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.watch)
        clock.follow(SERVICE)
        offset[0] = 150.0
        clock.follow(SCHEDULED)
        with trio.fail_after(DEADLINE):
            assert await inbox.receive() == events.ClockSet(150.0)
            assert await inbox.receive() == events.ClockSet(150.0)
            clock.follow(SCHEDULED)
            offset[0] = 90.0
            os.eventfd_write(timer.steps, 1)
            assert await inbox.receive() == events.ClockSet(90.0)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert steps == [-60.0]
    with pytest.raises(trio.WouldBlock):
        inbox.receive_nowait()


async def test_without_a_timer_the_schedules_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left for one: that is told, and ends nothing."""

    def refuse() -> Timer:
        raise KernelError(24, "timerfd_create")

    monkeypatch.setattr(wall_clock, "ClockWatch", refuse)
    told: list[events.Event] = []
    clock = WallClock(told.append)
    clock.follow(SCHEDULED)
    with trio.fail_after(DEADLINE), captured_logs() as logged:
        await clock.watch()
    assert len(told) == 1
    [entry] = logged
    assert "Too many open files" in entry["why"]


async def test_what_is_shown_twice_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings of two clocks never agree to the microsecond; only a real step is followed."""
    clock = WallClock(lambda _: None)
    first = clock.shown_offset()
    for reading, shown in ((0.001, 0.0), (-0.004, 0.0), (3.0, 3.0), (3.001, 3.0)):
        monkeypatch.setattr(wall_clock, "wall_offset", lambda at=first + reading: at)
        assert clock.shown_offset() == pytest.approx(first + shown, abs=1e-6)
