"""The loop at rest and before it: starts in order, and what was seen is told in time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    Image,
    ImageKind,
    InstanceId,
    Kind,
    RestartPolicy,
    RestartWhen,
)
from anchor_supervisor.runtime.supervisor import TELL_WITHIN
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.states import State
from fake_machine import Script
from story import Story, always

HOST = Image(ImageKind.HOST, "host")
WEB = InstanceId("web")
NEVER = RestartPolicy(when=RestartWhen.ALWAYS, max=0)


def a_fleet(*containers: Container) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in containers}, {})


async def test_what_is_started_together_begins_in_order(autojump_clock: MockClock) -> None:
    """The first replica first, however trio orders the tasks, and nothing is at rest meanwhile."""
    fleet = a_fleet(Container("web", HOST, replicas=50, kind=Kind.JOB))
    story = Story(fleet, always(Script(starting=2.0, lasts=1.0)))
    rested: list[float] = []

    async def rest() -> None:
        await story.until(lambda: story.state(WEB) is State.STARTING)
        began = trio.current_time()
        await story.supervisor.at_rest()
        rested.append(trio.current_time() - began)

    await story.play(rest)
    assert story.machine.log[:50] == [f"start web.{number}" for number in range(1, 51)]
    assert rested == [pytest.approx(2.0)]


async def test_a_start_that_fails_leaves_the_fleet_at_rest(autojump_clock: MockClock) -> None:
    """Whatever way it fails."""
    for wrong in (HostError("no descriptor is left"), KeyError("bug")):
        story = Story(a_fleet(Container("web", HOST, restart=NEVER)), always(Script(fails=wrong)))

        async def rest(story: Story = story) -> None:
            await story.until(lambda: story.state(WEB) is State.FAILED)
            await story.supervisor.at_rest()
            story.supervisor.post(events.FleetStopRequested())

        await story.play(rest)


async def test_who_waits_for_a_change_hears_what_was_seen_first(autojump_clock: MockClock) -> None:
    """What is owed is told before whoever waits looks up."""
    story = Story(a_fleet(Container("web", HOST)), always(Script(starting=1.0)))
    owed: list[int] = []
    story.supervisor.settle = lambda: owed.append(len(story.commands))

    async def operator() -> None:
        await story.supervisor.changed()
        assert owed[-1] == len(story.commands)
        await story.supervisor.order(events.StopRequested(WEB))
        assert owed[-1] == len(story.commands)
        story.supervisor.post(events.FleetStopRequested())

    await story.play(operator)


@pytest.mark.parametrize(
    ("starting", "told_at"), [(0.01, [0.01]), (2.0, [TELL_WITHIN, 2.0]), (0.0, [0.0])]
)
async def test_what_was_seen_is_told_at_rest_and_otherwise_soon(
    autojump_clock: MockClock, starting: float, told_at: list[float]
) -> None:
    """Not before a start that is quick, and not behind one that is slow."""
    story = Story(a_fleet(Container("web", HOST)), always(Script(starting=starting)))
    began = trio.current_time()
    told: list[float] = []
    seen = 0

    def settle() -> None:
        nonlocal seen
        if len(story.commands) > seen:
            seen = len(story.commands)
            told.append(trio.current_time() - began)

    story.supervisor.settle = settle

    async def operator() -> None:
        await trio.sleep(10.0)
        assert seen == len(story.commands)
        assert told == [pytest.approx(at) for at in told_at]
        story.supervisor.post(events.FleetStopRequested())

    await story.play(operator)
