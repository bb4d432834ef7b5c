"""News of memory and processor: with figures, bounded, and without one wake-up at rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final, final

import pytest
import trio
import trio.testing
from attrs import define, field

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import InstanceId, Limits
from anchor_supervisor.kernel.cgroup import Cgroup, MemoryEvents
from anchor_supervisor.runtime.bounds import TELL_EVERY
from anchor_supervisor.runtime.pressure import LOOK_EVERY, PressureWatch
from news import Listener
from real_fleet import open_descriptors
from waiting import DEADLINE

WEB: Final = InstanceId("web")
FREE: Final = Limits()


@asynccontextmanager
async def watching(listener: Listener) -> AsyncIterator[PressureWatch]:
    """A watch that runs, and gives everything back."""
    before = open_descriptors()
    watch = PressureWatch(listener.tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()
    assert open_descriptors() == before


@final
@define(eq=False)
class Pretended:
    """A directory with the files of a group that has a memory controller."""

    path: Path
    group: Cgroup = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.group = Cgroup(self.path)
        (self.path / "memory.max").write_text("67108864\n")
        (self.path / "memory.high").write_text("33554432\n")
        (self.path / "memory.peak").write_text("67104768\n")
        (self.path / "memory.current").write_text("1024\n")
        self.say()

    def say(self, high: int = 0, oom_kill: int = 0) -> None:
        """Write the counts as the kernel does: the file is changed, and once."""
        text = f"low 0\nhigh {high}\nmax 0\noom {oom_kill}\noom_kill {oom_kill}\n"
        with (self.path / "memory.events").open("r+" if self.exists() else "w") as file:
            file.write(text)

    def exists(self) -> bool:
        return (self.path / "memory.events").exists()


@pytest.fixture
def pretended(tmp_path: Path) -> Pretended:
    return Pretended(tmp_path)


async def test_a_kill_is_told_at_once_with_its_figures(pretended: Pretended) -> None:
    """Whether the container goes on or not: nothing here asks."""
    listener = Listener()
    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        await trio.testing.wait_all_tasks_blocked()
        assert listener.told == []
        pretended.say(oom_kill=2)
        await listener.until(1)
    [(_, instance, kind, facts)] = listener.told
    assert (instance, kind) == (WEB, "oom")
    assert facts == {"count": 2, "limit": 64 << 20, "peak": 67104768, "left_out": 0}


async def test_what_happened_before_the_watch_is_told(pretended: Pretended) -> None:
    """A first process can be killed before anybody has had time to look."""
    listener = Listener()
    pretended.say(oom_kill=1)
    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        watch.watch(WEB, pretended.group, FREE)
    assert [(kind, facts["count"]) for _, _, kind, facts in listener.told] == [("oom", 1)]


async def test_much_of_a_kind_is_told_once_in_a_while(
    pretended: Pretended, autojump_clock: trio.testing.MockClock
) -> None:
    """With how much it was, the last word included; and kinds do not wait for each other."""
    listener = Listener()
    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        for number in range(1, 41):
            pretended.say(high=number, oom_kill=number // 40)
            await trio.sleep(0.5)
        await trio.sleep(3 * TELL_EVERY)
    high = [(at, facts) for at, _, kind, facts in listener.told if kind == "memory-high"]
    times = [at for at, _ in high]
    assert all(b - a >= TELL_EVERY for a, b in pairwise(times))
    assert len(times) == 3
    assert sum(int(str(facts["count"])) for _, facts in high) == 40
    assert sum(int(str(facts["left_out"])) for _, facts in high) == 40 - 1
    assert [facts["limit"] for _, facts in high] == [32 << 20] * 3
    [oom] = [at for at, _, kind, _ in listener.told if kind == "oom"]
    assert oom - 19.5 < 1.0


async def test_a_busy_group_is_not_looked_at_all_the_time(
    pretended: Pretended, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container can make its group say something without a pause; we are woken ten times."""
    looks = 0
    real = Cgroup.memory_events

    def counted(self: Cgroup) -> object:
        nonlocal looks
        looks += 1
        return real(self)

    listener = Listener()
    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        monkeypatch.setattr(Cgroup, "memory_events", counted)
        for number in range(1, 1001):
            pretended.say(high=number)
            await trio.sleep(0.001)
    # Each look reads two counts, and is repeated when listening begins again.
    assert looks <= 4 * (1.0 / LOOK_EVERY + 2)


async def test_at_rest_there_is_no_wake_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A hundred quiet containers for a day: no task of the watch takes a step."""

    class Steps(trio.abc.Instrument):
        """Which tasks ran."""

        def __init__(self) -> None:
            self.names: list[str] = []

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.names.append(task.name)

    steps, listener = Steps(), Listener()
    async with watching(listener) as watch:
        for number in range(1, 101):
            folder = tmp_path / str(number)
            folder.mkdir()
            watch.watch(InstanceId("web", number), Pretended(folder).group, FREE)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(86400)
        trio.lowlevel.remove_instrument(steps)
    ours = {"memory events", "stalls", "pressure left out"}
    assert not ours & set(steps.names)
    assert listener.told == []


async def test_without_a_controller_nothing_is_opened(tmp_path: Path) -> None:
    """Neither inotify nor epoll, whatever the limits are; a group that is not there is fine."""
    listener = Listener()
    limits = Limits(memory=1, memory_high=1, cpus=0.5)
    async with watching(listener) as watch:
        before = open_descriptors()
        watch.watch(WEB, Cgroup(tmp_path), limits)
        watch.watch(InstanceId("gone"), Cgroup(tmp_path / "gone"), limits)
        assert open_descriptors() == before
        watch.forget(WEB)
        watch.forget(WEB)


async def test_what_is_forgotten_is_silent(
    pretended: Pretended, autojump_clock: trio.testing.MockClock
) -> None:
    """Also what was still to be told of it; another of the same name begins at nothing."""
    listener = Listener()
    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        pretended.say(oom_kill=1)
        await listener.until(1)
        pretended.say(oom_kill=2)
        await trio.sleep(1)
        watch.forget(WEB)
        pretended.say(oom_kill=3)
        await trio.sleep(2 * TELL_EVERY)
        assert len(listener.told) == 1
        watch.watch(WEB, pretended.group, FREE)
    assert [facts["count"] for _, _, _, facts in listener.told] == [1, 3]


async def test_a_group_that_was_made_anew_is_followed(tmp_path: Path) -> None:
    """Somebody killed the old one; the new one has the same path and begins at nothing."""
    place = tmp_path / "web.1"
    place.mkdir()
    listener = Listener()
    async with watching(listener) as watch:
        watch.watch(WEB, Pretended(place).group, FREE)
        place.rename(tmp_path / "old")
        place.mkdir()
        renewed = Pretended(place)
        watch.watch(WEB, renewed.group, FREE)
        await trio.testing.wait_all_tasks_blocked()
        renewed.say(oom_kill=1)
        await listener.until(1)
    assert [facts["count"] for _, _, _, facts in listener.told] == [1]


async def test_new_limits_may_bring_a_controller(tmp_path: Path) -> None:
    """What the group gets while it is watched is followed from then on."""
    listener, group = Listener(), Cgroup(tmp_path)
    async with watching(listener) as watch:
        watch.watch(WEB, group, FREE)
        pretended = Pretended(tmp_path)
        watch.watch(WEB, group, Limits(memory=64 << 20))
        pretended.say(oom_kill=1)
        await listener.until(1)


async def test_a_machine_that_has_no_descriptor_left_is_told(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container runs on, unwatched."""

    def none_left(*_: object) -> object:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("anchor_supervisor.runtime.pressure.CgroupWatch", none_left)
    async with watching(Listener()) as watch:
        watch.watch(WEB, pretended.group, FREE)


async def test_figures_that_cannot_be_read_are_read_the_next_time(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is left for the file: that ends nothing, and nothing is lost by it."""
    listener = Listener()
    refused = trio.Event()

    def refuse(group: Cgroup) -> MemoryEvents:
        refused.set()
        raise KernelError(24, "read", str(group.path / "memory.events"))

    async with watching(listener) as watch:
        watch.watch(WEB, pretended.group, FREE)
        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patched, trio.fail_after(DEADLINE):
            patched.setattr(Cgroup, "memory_events", refuse)
            pretended.say(oom_kill=1)
            await refused.wait()
        pretended.say(oom_kill=2)
        await listener.until(1)
    [(_, _, kind, facts)] = listener.told
    assert (kind, facts["count"]) == ("oom", 2)
