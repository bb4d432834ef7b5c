"""A fleet that is changed again and again holds no more afterwards than before."""

from __future__ import annotations

import gc
import os
import re
from collections import Counter

import pytest
import trio

from anchor_supervisor.network.nftables import Nftables
from anchor_supervisor.supervision.states import State
from live_fleet import Live, live
from real_fleet import Workshop, open_descriptors
from waiting import eventually

pytestmark = pytest.mark.root

SLACK = 4  # objects of a kind that may be in use at one look and not at another
USUAL = {
    "command": '["sh", "-c", "echo up; exec sleep 1000"]',
    "replicas": "2",
    "ports": '["127.0.0.1:28481:80"]',
    "configs": '["token"]',
    "on_change": '"signal CHLD"',
    "health": '{ log = "up" }',
    "stop": '{ grace = "0s" }',
}
# What the file says in turn: by new processes, with a new container, live, by a signal, more, less.
TURNS: tuple[dict[str, str], ...] = (
    {"command": '["sh", "-c", "echo up; exec sleep 1001"]'},
    {"hostname": '"other"'},
    {"limits": "{ pids = 99 }", "labels": '{ tier = "front" }'},
    {"token": "another"},
    {"replicas": "4"},
    {"ports": '["127.0.0.1:28481:81", "127.0.0.1:28482:80"]'},
    {"networks": '["back"]', "update": '{ order = "start-first", monitor = "0s", drain = "0s" }'},
    {"health": '{ exec = "true" }', "startup": '{ log = "u." }'},
)


def shop(**more: str) -> list[str]:
    """The lines of the file."""
    keys = {**USUAL, **more}
    token = keys.pop("token", "hush")
    return [
        *("[fleet]", 'limits = "best-effort"', "[networks.back]"),
        *("[configs.token]", f'content = "{token}"', "[containers.web]"),
        *('image = "ROOTFS"', *(f"{key} = {value}" for key, value in keys.items())),
    ]


async def test_changes_leave_nothing(workshop: Workshop) -> None:
    """Every change there and back twice, which is 32 applies: the second time is as the first."""
    async with live(workshop, *shop()) as fleet:
        await there_and_back(fleet)
        first = await trio.to_thread.run_sync(at_rest, fleet)
        objects = our_objects()
        await there_and_back(fleet)
        for name, number in our_objects().items():
            assert number <= objects[name] + SLACK, name
        await trio.to_thread.run_sync(
            lambda: eventually(
                lambda: held(fleet), lambda now: now == first, what="all is as it was"
            )
        )
        assert len(fleet.site.layouts) == 1


async def there_and_back(fleet: Live) -> None:
    """Each of the turns, and back from it, to its end."""
    for turn in TURNS:
        for keys in (turn, {}):
            change = await fleet.apply(*shop(**keys))
            statuses = fleet.supervisor.core.statuses()
            assert len(statuses) == int(keys.get("replicas", "2"))
            assert {status.state for status in statuses} == {State.RUNNING}, change.plan
    fleet.said.clear()
    fleet.changed.clear()


def held(fleet: Live) -> dict[str, object]:
    """What the supervisor holds in the kernel and on disk; a veth goes in the kernel's own time."""
    site, run = fleet.site, fleet.workshop.run_dir
    with Nftables() as nftables:
        table = nftables.run(f"list table inet anchor_{site.plan.identity}", "list the table")
    return {
        "descriptors": sorted(map(kind, open_descriptors().values())),
        "groups": sorted(path.name for path in site.cgroup.path.iterdir() if path.is_dir()),
        "files": sorted(str(path) for path in run.rglob("*")),
        "layers": sorted(path.name for path in site.writable.iterdir()),
        "links": sum(site.plan.identity in name for name in os.listdir("/sys/class/net")),
        "table": table,
    }


def at_rest(fleet: Live) -> dict[str, object]:
    """What is held once ten looks in a row see the same: the last probe may be under way."""
    looks: list[dict[str, object]] = []

    def still(now: dict[str, object]) -> bool:
        looks.append(now)
        return looks[-10:] == [now] * 10

    return eventually(lambda: held(fleet), still, what="the fleet is at rest")


def kind(descriptor: str) -> str:
    """What a descriptor leads to, without what is each one's own: a number, a name made up."""
    return re.sub(r"[0-9a-f]{32}|\[?\d+\]?", "", descriptor)


def our_objects() -> Counter[str]:
    """How many there are of each of our classes."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(
        f"{one.__module__}.{one.__name__}"
        for one in kinds
        if str(one.__module__).startswith("anchor_")
    )
