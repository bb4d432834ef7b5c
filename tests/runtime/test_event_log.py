"""The journal of a running fleet, followed while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from anchor_supervisor.control.handler import EventQuery
from anchor_supervisor.control.shapes import JournalEntry
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import Journal, read_entries
from anchor_supervisor.runtime.event_log import ENTRIES_IN_WHY, EventLog, follow, last_incidents


async def test_what_is_added_is_followed(data_dir: Path) -> None:
    """What there was comes first, then each entry as it is added; nobody looks in between."""
    log = EventLog(Journal(data_dir))
    log.add("transition", container="web.1", number=1)
    looks = 0

    async def more() -> None:
        nonlocal looks
        looks += 1
        await log.more()

    seen: list[object] = []
    came = trio.Event()

    async def read() -> None:
        nonlocal came
        async for entry in follow(data_dir, EventQuery(follow=True), more):
            seen.append(entry["number"])  # type: ignore[typeddict-item]
            came.set()
            came = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(2, 5):
            await trio.testing.wait_all_tasks_blocked()
            log.add("update", container="web", number=number)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [1, 2, 3, 4]
        assert looks == 4
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("tail", "expected"), [(None, [0, 1, 2, 3, 4]), (2, [3, 4]), (0, [])])
async def test_a_tail_begins_near_the_end(
    data_dir: Path, tail: int | None, expected: list[int]
) -> None:
    """The last so many of the wanted entries; without `follow` that is all."""
    log = EventLog(Journal(data_dir))
    for number in range(5):
        log.add("transition", container="web.1", number=number)
        log.add("transition", container="db.1", number=-number)
    query = EventQuery(names=("web",), tail=tail)
    found = [entry async for entry in follow(data_dir, query, trio.sleep_forever)]
    assert [entry["number"] for entry in found] == expected  # type: ignore[typeddict-item]


async def test_following_goes_on_across_rotations(data_dir: Path) -> None:
    """However often the file is renamed while somebody reads, no entry is lost or told twice."""
    log = EventLog(Journal(data_dir, max_bytes=500, max_files=100))
    log.add("transition", number=0)
    seen: list[JournalEntry] = []

    async def read() -> None:
        query = EventQuery(follow=True)
        async for entry in follow(data_dir, query, log.more):
            seen.append(entry)  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(1, 200):
            log.add("transition", number=number)
            if number % 7 == 0:
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(os.listdir(data_dir)) > 20
    assert [entry["number"] for entry in seen] == list(range(200))  # type: ignore[typeddict-item]


def test_a_later_supervisor_goes_on_in_the_same_journal(data_dir: Path) -> None:
    """Entries of an earlier one stay, and come first."""
    for supervisor in range(3):
        log = EventLog(Journal(data_dir))
        log.add("transition", supervisor=supervisor)
        log.close()
    assert [entry["supervisor"] for entry in read_entries(data_dir)] == [0, 1, 2]


def test_why_is_told_what_is_no_transition(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last incidents of this instance and of its container, and of no other."""
    monkeypatch.setenv(places.DATA_DIR_VARIABLE, str(data_dir))
    log = EventLog(Journal(places.fleet_log_dir("shop")))
    for number in range(10):
        for container in ("web.1", "web.2", "web-admin.1", "web"):
            log.add("oom", container=container, number=number)
            log.add("transition", container=container, number=number)
    found = last_incidents("shop", InstanceId("web"))
    assert len(found) == ENTRIES_IN_WHY
    assert {entry["event"] for entry in found} == {"oom"}
    about = [(entry["container"], entry["number"]) for entry in found]  # type: ignore[typeddict-item]
    assert about[-2:] == [("web.1", 9), ("web", 9)]
