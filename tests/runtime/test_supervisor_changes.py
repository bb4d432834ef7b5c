"""The loop while its fleet changes: one thing after the other, and no failure ends it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Image,
    ImageKind,
    InstanceId,
    Limits,
)
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.states import State
from fake_machine import FakeMachine, Script
from story import Story, always

HOST = Image(ImageKind.HOST, "host")
WEB = InstanceId("web")


def a_fleet(*containers: Container) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in containers}, {})


async def test_a_name_that_comes_and_goes_while_it_is_taken_apart(
    autojump_clock: MockClock,
) -> None:
    """Each removal waits for the one before, and a start for the last of them."""
    db, needs = Container("db", HOST), {"db": Condition.STARTED}
    one = a_fleet(db, Container("web", HOST, depends_on=needs))
    two = a_fleet(db, Container("web", HOST, depends_on=needs, replicas=2))
    story = Story(two, always(Script(starting=3.0)))
    story.machine.removal_takes = 5.0
    second = InstanceId("web", 2)

    async def operator() -> None:
        for fleet in (one, two, one, two):
            await story.supervisor.order(events.FleetChanged(fleet))
        assert story.state(second) is State.WAITING
        await story.until(lambda: story.state(second) is State.RUNNING)
        assert trio.current_time() - began == pytest.approx(13.0)
        story.supervisor.post(events.FleetStopRequested())

    began = trio.current_time()
    assert (await story.play(operator)).exit_code == 0
    about = [line for line in story.machine.log if line in {"remove web.2", "start web.2"}]
    assert about[:3] == ["remove web.2", "remove web.2", "start web.2"]


@pytest.mark.parametrize("fails", [OSError(24, "Too many open files"), KeyError("what")])
async def test_what_cannot_be_refreshed_is_told_and_ends_nothing(
    autojump_clock: MockClock, fails: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason is, also one that nobody thought of."""

    async def refresh(self: FakeMachine, instance: InstanceId, container: Container) -> None:
        raise fails

    monkeypatch.setattr(FakeMachine, "refresh", refresh)
    story = Story(a_fleet(Container("web", HOST)), always(Script()))

    async def operator() -> None:
        await story.until(lambda: story.state(WEB) is State.RUNNING)
        newer = Container("web", HOST, limits=Limits(pids=9))
        await story.supervisor.order(events.FleetChanged(a_fleet(newer)))
        await story.until(lambda: not story.supervisor.acting)
        assert str(fails.args[-1]) in story.supervisor.troubles[WEB]
        story.supervisor.post(events.FleetStopRequested())

    assert (await story.play(operator)).exit_code == 0
