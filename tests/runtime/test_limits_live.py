"""Limits that change while a container runs, and what the kernel tells of those who meet them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import Container, InstanceId, Limits, LimitsMode
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from anchor_supervisor.runtime.pressure import PressureWatch
from anchor_supervisor.runtime.run import HostRun
from news import Listener
from real_fleet import WEB, Workshop, sh
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.vm

MIB = 1 << 20
READY = "echo up; "
IDLE = READY + "sleep 1000"


def limited(run: HostRun, **limits: Any) -> Container:
    """The run's container, with these limits and no others."""
    wanted = Limits(**{"pids": None, **limits}, declared=frozenset(limits))
    return evolve(run.holdings.container, limits=wanted)


async def refresh(run: HostRun, container: Container) -> None:
    await trio.to_thread.run_sync(run.holdings.refresh, container, LimitsMode.STRICT)


@pytest.fixture
def _several_processors() -> Iterator[None]:
    """The test machine has its second one switched off."""
    switch = Path("/sys/devices/system/cpu/cpu1/online")
    if not switch.exists():
        pytest.skip("machine: it has one processor")
    before = switch.read_text()
    switch.write_text("1")
    effective = find_mount() / "cpuset.cpus.effective"
    eventually(effective.read_text, lambda text: text != "0\n", what="the kernel counts on it")
    yield
    switch.write_text(before)


@pytest.mark.usefixtures("_several_processors")
async def test_every_limit_is_changed_and_lifted(workshop: Workshop) -> None:
    """Controllers that nobody needed before are enabled; what is gone is as in a new group."""
    async with workshop.running(workshop.fleet(sh(IDLE))) as real:
        run = await real.start()
        group = run.holdings.cgroup
        assert not group.has("cpu.max")
        untouched = limited(run)
        wanted = limited(
            run, memory=64 * MIB, memory_high=32 * MIB, cpus=0.5, cpu_weight=50, cpuset="0", pids=9
        )
        await refresh(run, wanted)
        files = ("memory.max", "memory.high", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max")
        assert [group.read(file) for file in files] == [
            "67108864", "33554432", "50000 100000", "50", "0", "9",
        ]  # fmt: skip
        assert group.read("memory.oom.group") == "1"
        await refresh(run, untouched)
        lifted = [group.read(file) for file in files if file != "cpuset.cpus"]
        assert lifted == ["max", "max", "max 100000", "100", "max"]
        everywhere = Cgroup(group.path.parent).read("cpuset.cpus.effective")
        assert group.read("cpuset.cpus.effective") == everywhere != "0"
        assert not run.ended
        assert run.holdings.container is untouched


async def test_a_limit_that_was_changed_is_that_of_the_next_run(workshop: Workshop) -> None:
    """Also where it was changed while nothing ran."""
    async with workshop.running(workshop.fleet(sh("exit 0"), "limits = { pids = 9 }")) as real:
        await real.complete()
        held = real.machine.holdings(WEB)
        assert held is not None
        assert held.cgroup.read("pids.max") == "9"
        container = evolve(held.container, limits=Limits(pids=11))
        real.machine.reshape(WEB, container, fresh=False)
        await real.complete()
        assert held.cgroup.read("pids.max") == "11"


async def test_what_the_kernel_refuses_is_told_and_the_rest_is_done(workshop: Workshop) -> None:
    """The error names file and value, the container runs on, and the next change is tried."""
    async with workshop.running(workshop.fleet(sh(IDLE))) as real:
        run = await real.start()
        with pytest.raises(KernelError, match=r"write `4000` to `.*cpuset\.cpus`"):
            await refresh(run, limited(run, cpuset="4000", pids=9))
        assert run.holdings.cgroup.read("pids.max") == "9"
        await refresh(run, limited(run, cpuset="0", pids=9))
        assert run.holdings.cgroup.read("cpuset.cpus") == "0"
        assert not run.ended


async def test_memory_below_what_is_used_ends_the_container(workshop: Workshop) -> None:
    """The kernel reclaims what it can, and kills for the rest; that is how the run ended."""
    hold = "dd if=/dev/zero of=/ram/x bs=1M count=48 && echo full; sleep 1000"
    fleet = workshop.fleet(sh(hold), 'volumes = ["tmpfs:/ram"]', 'limits = { swap = "0" }')
    async with workshop.running(fleet) as real:
        run = await real.start()
        await real.until_said("full")
        await refresh(run, limited(run, memory=128 * MIB, swap=0))
        assert not run.ended
        await refresh(run, limited(run, memory=16 * MIB, swap=0))
        with trio.fail_after(DEADLINE):
            status = await run.wait()
        assert status.signal == 9
        assert (status.oom or "").startswith("oom (limit 16M, peak ")


async def test_a_fork_bomb_bursts_within_its_limit(workshop: Workshop) -> None:
    """It never has more processes than it may, a neighbour starts, and it can be ended."""
    bomb = READY + "bomb() { bomb | bomb & }; bomb; sleep 1000"
    fleet = workshop.fleet(sh(bomb), "replicas = 2", "limits = { pids = 32 }")
    async with workshop.running(fleet) as real:
        run = await real.start()
        group = run.holdings.cgroup
        with trio.fail_after(DEADLINE):
            while not group.read_counts("pids.events").get("max"):
                await trio.lowlevel.checkpoint()
        assert (group.read_number("pids.current") or 0) <= 32
        neighbour = InstanceId("web", 2)
        other = await real.start(neighbour)
        await real.until_said("up", neighbour)
        for one in (WEB, neighbour):
            real.machine.kill(one)
        with trio.fail_after(DEADLINE):
            assert (await run.wait()).signal == 9
            assert (await other.wait()).signal == 9
        assert not group.populated()


@asynccontextmanager
async def watched(run: HostRun) -> AsyncIterator[Listener]:
    """What is told of a run's group."""
    listener = Listener()
    watch = PressureWatch(listener.tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        watch.watch(run.holdings.instance, run.holdings.cgroup, run.holdings.container.limits)
        yield listener
        nursery.cancel_scope.cancel()


async def first(listener: Listener, kind: str) -> dict[str, Any]:
    """The first news of this kind."""
    for count in range(1, 100):
        await listener.until(count)
        _, instance, said, facts = listener.told[count - 1]
        if said == kind:
            assert instance == WEB
            return dict(facts)
    raise AssertionError(listener.told)


def on_request(script: str, fifo: Path, *lines: str) -> tuple[str, ...]:
    """A container that does something once it is told to, and says so when it has."""
    command = sh(f"{READY}read -r line < /fifo; {script}; echo done; sleep 1000")
    return (command, f'volumes = ["{fifo}:/fifo"]', *lines)


@pytest.fixture
def fifo(workshop: Workshop) -> Path:
    """By which a container is told to begin."""
    path = workshop.data_dir / "fifo"
    os.mkfifo(path, 0o666)
    return path


GREEDY = "dd if=/dev/zero of=/dev/null bs=64M count=1"


async def test_a_child_that_is_killed_for_memory_is_told(workshop: Workshop, fifo: Path) -> None:
    """The container goes on where nothing makes its group die as one."""
    lines = on_request(GREEDY, fifo, 'limits = { memory = "32M", swap = "0" }')
    async with workshop.running(workshop.fleet(*lines)) as real:
        run = await real.start()
        await real.until_said("up")
        run.holdings.cgroup.write("memory.oom.group", "0")
        async with watched(run) as listener:
            await trio.to_thread.run_sync(fifo.write_text, "go\n")
            facts = await first(listener, "oom")
        assert facts["count"] == 1
        assert facts["limit"] == 32 * MIB
        assert facts["peak"] is None or 16 * MIB < facts["peak"] <= 33 * MIB
        await real.until_said("done")
        assert not run.ended


async def test_a_container_that_dies_whole_is_told_of_as_well(
    workshop: Workshop, fifo: Path
) -> None:
    """The child's greed is the container's end, and both are said."""
    lines = on_request(GREEDY, fifo, 'limits = { memory = "32M", swap = "0" }')
    async with workshop.running(workshop.fleet(*lines)) as real:
        run = await real.start()
        await real.until_said("up")
        async with watched(run) as listener:
            await trio.to_thread.run_sync(fifo.write_text, "go\n")
            facts = await first(listener, "oom")
            with trio.fail_after(DEADLINE):
                status = await run.wait()
        assert facts["count"] >= 1
        assert (status.oom or "").startswith("oom (limit 32M")


async def test_who_is_above_memory_high_is_told_of(workshop: Workshop, fifo: Path) -> None:
    """It is slowed down, which is memory pressure, and both have figures."""
    lines = on_request(GREEDY, fifo, 'limits = { memory_high = "16M", swap = "0" }')
    async with workshop.running(workshop.fleet(*lines)) as real:
        run = await real.start()
        await real.until_said("up")
        async with watched(run) as listener:
            await trio.to_thread.run_sync(fifo.write_text, "go\n")
            high = await first(listener, "memory-high")
            pressure = await first(listener, "pressure")
        assert high["count"] >= 1
        assert high["limit"] == 16 * MIB
        assert pressure["some_total"] >= 300_000
        assert pressure["some_avg10"] >= 0.0


async def test_who_is_throttled_is_told_of(workshop: Workshop) -> None:
    """With how often and for how long since the last time; who waits for others is not."""
    spin = READY + "while :; do :; done"
    async with workshop.running(workshop.fleet(sh(spin), "limits = { cpus = 0.2 }")) as real:
        run = await real.start()
        await real.until_said("up")
        async with watched(run) as listener:
            facts = await first(listener, "throttled")
        assert facts["nr_throttled"] >= 1
        assert facts["throttled_usec"] > 0
        assert {kind for _, _, kind, _ in listener.told} == {"throttled"}
