"""Reading logs while they are written: merged by time, bounded, and no line is overlooked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from anchor_supervisor.control.handler import LogQuery
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.observability.places import log_dir
from anchor_supervisor.runtime import logs

WEB, DB = InstanceId("web"), InstanceId("db")
EVERYTHING = LogQuery()
SECOND = 1_000_000_000

Write = Callable[[InstanceId, str], None]


class Spoken:
    """What a machine tells followers: somebody has said something."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.asked = 0

    def tell(self) -> None:
        """Wake whoever waits now."""
        self.event.set()
        self.event = trio.Event()

    async def more(self) -> None:
        """Return when something was said since now."""
        self.asked += 1
        await self.event.wait()


@pytest.fixture
def write(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a line to an instance's log, one second after the line before."""
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(data_dir))
    writers: dict[InstanceId, LogWriter] = {}
    times = iter(range(1_767_323_045 * SECOND, 2**63, SECOND))

    def write_line(instance: InstanceId, line: str) -> None:
        writer = writers.setdefault(instance, LogWriter(log_dir("shop", instance)))
        writer.write("stdout", f"{line}\n".encode(), next(times))

    return write_line


async def collected(query: LogQuery, *instances: InstanceId) -> list[str]:
    """`name: text` of every record there is."""

    async def never() -> None:
        pytest.fail("nobody follows")

    return [
        f"{line['name']}: {line['text']}"
        async for line in logs.follow("shop", instances, query, never)
    ]


async def test_lines_of_several_instances_come_by_their_time(write: Write) -> None:
    """Merged as they were said; an instance that never spoke is no obstacle."""
    for number in range(6):
        write((WEB, DB)[number % 2], f"line {number}")
    names = ("web.1", "db.1")
    found = await collected(EVERYTHING, WEB, DB, InstanceId("mute"))
    assert found == [f"{names[n % 2]}: line {n}" for n in range(6)]
    assert await collected(EVERYTHING, InstanceId("mute")) == []


async def test_a_tail_is_each_instances_own(write: Write) -> None:
    """The last lines of each one."""
    for number in range(6):
        write((WEB, DB)[number % 2], f"line {number}")
    assert await collected(LogQuery(tail=1), WEB, DB) == ["web.1: line 4", "db.1: line 5"]


async def test_a_follower_sees_every_line(write: Write, autojump_clock: MockClock) -> None:
    """Also one that is written while the follower is busy with the one before."""
    spoken = Spoken()
    seen: list[str] = []

    async def follow() -> None:
        async for line in logs.follow("shop", [WEB, DB], LogQuery(follow=True), spoken.more):
            seen.append(line["text"])
            await trio.sleep(10.0)  # a slow reader, at the other end of a socket

    write(WEB, "before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.sleep(5.0)
        write(DB, "meanwhile")
        spoken.tell()
        await trio.sleep(100.0)
        assert seen == ["before", "meanwhile"]
        write(WEB, "later")
        spoken.tell()
        await trio.sleep(100.0)
        nursery.cancel_scope.cancel()
    assert seen == ["before", "meanwhile", "later"]


async def test_a_follower_sleeps_while_nothing_is_said(write: Write) -> None:
    """It asks once and waits: silence costs nothing."""
    spoken = Spoken()

    async def follow() -> None:
        async for _ in logs.follow("shop", [WEB], LogQuery(follow=True), spoken.more):
            pass

    write(WEB, "before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await wait_all_tasks_blocked(0.02)
        assert spoken.asked == 1
        spoken.tell()
        await wait_all_tasks_blocked(0.02)
        assert spoken.asked == 2
        nursery.cancel_scope.cancel()


async def test_a_follower_that_hangs_up_leaves_nothing_open(write: Write) -> None:
    """Closing the generator closes the files."""
    from real_fleet import open_descriptors

    write(WEB, "before")
    before = open_descriptors()
    following = logs.follow("shop", [WEB], LogQuery(follow=True), trio.sleep_forever)
    assert (await anext(following))["text"] == "before"
    assert open_descriptors() != before
    await following.aclose()
    assert open_descriptors() == before


def test_the_last_lines_are_the_last(write: Write) -> None:
    """What `why` shows: ten lines at most, the newest last."""
    for number in range(25):
        write(WEB, str(number))
    texts = [line["text"] for line in logs.last_lines("shop", WEB)]
    assert texts == [str(number) for number in range(15, 25)]
    assert logs.last_lines("shop", DB) == []
