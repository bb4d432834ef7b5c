"""The acting side: what a failure in the middle of a start leaves, and what a release takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from anchor_supervisor.errors import (
    FleetError,
    HostError,
    ImageError,
    KernelError,
    NetworkError,
    Problem,
)
from anchor_supervisor.fleet.model import ExecProbe, InstanceId, Limits, LimitsMode
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.kernel.steps import Execute
from anchor_supervisor.network.fleet_network import FleetNetwork, Lead
from anchor_supervisor.rootfs import tree_copy
from anchor_supervisor.runtime import holdings, machine
from anchor_supervisor.runtime.bringup import Stdio, bring_up
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.supervision.states import ExitStatus
from leaks import Snapshot
from real_fleet import WEB, Workshop, open_descriptors, sh
from waiting import DEADLINE

EXECUTE = Execute(("/bin/x",), ("x",), (), None, None)


@pytest.mark.root
async def test_a_port_that_cannot_be_published_undoes_the_start(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is told that nothing runs, so nothing may."""

    def refuse(network: FleetNetwork, wishes: Sequence[Lead]) -> None:
        message = f"no room for a rule of `{wishes[0][0]}`"
        raise NetworkError(message)

    fleet = workshop.fleet('networks = ["default"]', 'ports = ["127.0.0.1:28476:80"]')
    async with workshop.running(fleet) as real:
        with monkeypatch.context() as patched:
            patched.setattr(FleetNetwork, "lead", refuse)
            with pytest.raises(NetworkError), trio.fail_after(DEADLINE):
                await real.start()
        assert isinstance(real.machine.failures[WEB], NetworkError)
        assert not real.site.cgroup.populated()
        assert (await real.start()).pid
        assert WEB not in real.machine.failures


@pytest.mark.root
@pytest.mark.parametrize("ahead", [False, True])
async def test_a_network_that_cannot_be_joined_undoes_the_start(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """It is joined beside all else: nothing runs without it, and the next start has all anew."""

    def refuse(_network: FleetNetwork, several: Sequence[object]) -> list[NetworkError]:
        return [NetworkError("no port left") for _ in several]

    async with workshop.running(workshop.fleet('networks = ["default"]')) as real:
        get_ready = partial(trio.to_thread.run_sync, real.machine.get_ready, WEB)
        start = get_ready if ahead else real.start
        before = open_descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(FleetNetwork, "attach_many", refuse)
            with pytest.raises(NetworkError, match="no port left"), trio.fail_after(DEADLINE):
                await start()
        assert real.machine.holdings(WEB) is None
        assert open_descriptors() == before
        assert not real.site.cgroup.child(str(WEB)).exists()
        run = await real.start()
        assert run.holdings.address is not None


@pytest.mark.root
async def test_what_runs_is_watched_until_it_is_removed(workshop: Workshop) -> None:
    """With the limits that it has by now."""
    async with workshop.running(workshop.fleet()) as real:
        machine = real.machine
        run = await real.start()
        [(instance, watched)] = machine.pressure._watched.items()
        assert instance == WEB
        assert watched.cgroup == run.holdings.cgroup
        newer = evolve(run.holdings.container, limits=Limits(pids=99))
        await machine.refresh(WEB, newer)
        assert machine.pressure._watched[WEB] is watched
        assert watched.limits.pids == 99
        machine.kill(WEB)
        await run.wait()
        await machine.ended(WEB)
        await machine.remove(WEB)
        assert machine.pressure._watched == {}


@pytest.mark.root
async def test_a_kill_ends_the_instance_whatever_it_forked(workshop: Workshop) -> None:
    """And is harmless before the first start and after the end."""
    script = sh("(trap '' TERM; while :; do sleep 1000 & wait; done) & echo up; sleep 1000")
    async with workshop.running(workshop.fleet(script)) as real:
        real.machine.kill(WEB)
        run = await real.start()
        await real.until_said("up\n")
        real.machine.kill(WEB)
        with trio.fail_after(DEADLINE):
            assert await run.wait() == ExitStatus(signal=9)
        assert not run.holdings.cgroup.populated()
        real.machine.kill(WEB)


@pytest.mark.root
async def test_a_release_takes_everything_back(workshop: Workshop) -> None:
    """What runs, what has ended and what never started: nothing of it is left, nor held open."""
    with workshop.site(workshop.fleet("replicas = 3", 'networks = ["default"]')) as site:
        before = Snapshot.take(workshop.run_dir, workshop.data_dir)
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        for number in (1, 2):
            run = await machine.start(InstanceId("web", number))
        machine.kill(InstanceId("web", 2))
        await run.wait()
        await trio.to_thread.run_sync(machine.release)
        assert open_descriptors() == descriptors
        left = Snapshot.take(workshop.run_dir, workshop.data_dir).since(before)
        group = str(site.cgroup.path)
        ours = {one for one in left if one.split()[0] in {"run", "writable"} or group in one}
        assert ours <= {f"writable layer {site.writable}"}  # the fleet's own, which a sweep takes
        machine.release()


@pytest.mark.root
async def test_facts_and_context_tell_what_is_held(workshop: Workshop) -> None:
    """`inspect` and `exec` are told the truth; before the first start there are no facts."""
    fleet = workshop.fleet('user = "web"', 'environment = { A = "b" }', 'working_dir = "/srv"')
    async with workshop.running(fleet) as real:
        assert real.machine.facts(WEB) == {}
        run = await real.start()
        facts = real.machine.facts(WEB)
        assert facts["cgroup"] == str(run.holdings.cgroup.path)
        assert facts["ids"] == 65536
        context = real.machine.exec_context(WEB)
        assert (context["name"], context["pid"]) == ("web.1", run.pid)
        assert (context["uid"], context["gid"], context["groups"]) == (1000, 1000, [])
        assert "A=b" in context["environment"]
        assert context["working_dir"] == "/srv"
        assert context["no_new_privileges"]
        assert context["cgroup"] == facts["cgroup"]


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (SpawnError(2, EXECUTE, 9), True),
        (SpawnError(13, EXECUTE, 9), True),
        (SpawnError(12, None, None), False),
        (SpawnError(110, EXECUTE, 9), False),
        (ImageError("the archive is torn"), True),
        (FleetError([Problem("no such user")]), True),
        (NetworkError("no free subnet"), False),
        (HostError("all ranges are taken"), False),
    ],
)
def test_what_stays_wrong_is_not_tried_again(error: HostError, permanent: bool) -> None:
    """A missing command or a broken image stays so; a full machine may have room later."""
    assert HostMachine.permanent(None, error) is permanent  # type: ignore[arg-type]


@pytest.mark.root
async def test_slow_starts_hold_up_neither_probes_nor_ends(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many roots are being copied, who runs is asked in time, and unpublished."""
    go, begun = threading.Event(), threading.Semaphore(0)

    def slow(
        site: Site, holdings: Holdings, stdio: Stdio | None, cancelled: Callable[[], bool]
    ) -> HostRun:
        if holdings.instance.replica > 1:
            begun.release()
            go.wait()
        return bring_up(site, holdings, stdio, cancelled)

    monkeypatch.setattr(machine, "bring_up", slow)
    fleet = workshop.fleet(
        "replicas = 9", 'networks = ["default"]', 'ports = ["127.0.0.1:28491:80"]'
    )
    async with workshop.running(fleet) as real, trio.open_nursery() as nursery:
        await real.start()
        for replica in range(2, 10):
            nursery.start_soon(real.start, InstanceId("web", replica))
        try:
            await trio.to_thread.run_sync(begun.acquire)
            with trio.fail_after(DEADLINE):
                assert (await real.machine.probe(WEB, ExecProbe(("true",)))).ok
                await real.machine.ended(WEB)
        finally:
            go.set()


@pytest.mark.root
async def test_a_copy_under_way_is_given_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops a container need not wait for its root; nothing half-copied is left."""
    begun, asked = threading.Event(), threading.Event()

    def copied(*_: object) -> None:
        begun.set()
        assert asked.wait(DEADLINE)

    monkeypatch.setattr(tree_copy, "copy_content", copied)
    async with workshop.running(workshop.fleet('root = "copy"')) as real:
        failures = []
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                with pytest.raises(HostError, match="cancelled") as caught:
                    await real.machine.start(WEB, asked.is_set)
                failures.append(caught.value)

            nursery.start_soon(start)
            await trio.to_thread.run_sync(begun.wait)
            asked.set()
        holdings = real.machine.holdings(WEB)
        assert holdings is not None
        assert not [path for path in holdings.writable.iterdir() if "root" in path.name]
        assert not real.machine.permanent(failures[0])


@pytest.mark.root
async def test_a_drain_that_comes_too_late_is_not_the_next_runs(workshop: Workshop) -> None:
    """The run has ended while it was asked for: the ports lead to the next one again."""
    fleet = workshop.fleet('networks = ["default"]', 'ports = ["127.0.0.1:28477:80"]')
    async with workshop.running(fleet) as real:
        run = await real.start()
        real.machine.kill(WEB)
        await run.wait()
        await real.machine.ended(WEB)
        await real.machine.drain(WEB)
        with monkeypatched_lead() as published:
            await real.start()
        assert published == [WEB]


@contextmanager
def monkeypatched_lead() -> Iterator[list[InstanceId]]:
    """Take down whom the ports are led to."""
    published: list[InstanceId] = []
    real = FleetNetwork.lead

    def lead(self: FleetNetwork, wishes: Sequence[Lead]) -> None:
        published.extend(instance for instance, ports in wishes if ports is not None)
        real(self, wishes)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FleetNetwork, "lead", lead)
        yield published


@pytest.mark.root
async def test_of_two_changes_the_later_one_holds(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the earlier one takes, and whatever is started meanwhile."""
    entered, go_on = threading.Event(), threading.Event()
    applied: list[int | None] = []

    def slow(group: Cgroup, limits: Limits, mode: LimitsMode) -> None:
        if limits.pids == 7:
            entered.set()
            assert go_on.wait(DEADLINE)
        applied.append(limits.pids)

    monkeypatch.setattr(holdings, "change_limits", slow)
    async with workshop.running(workshop.fleet()) as real, trio.open_nursery() as nursery:
        run = await real.start()
        plain = run.holdings.container
        for pids in (7, 8, 9):
            newer = evolve(plain, limits=Limits(pids=pids))
            nursery.start_soon(real.machine.refresh, WEB, newer)
            await wait_all_tasks_blocked()
            if pids == 7:
                assert await trio.to_thread.run_sync(entered.wait, DEADLINE)
        go_on.set()
        await wait_until_refreshed(real.machine, 9)
        assert applied == [7, 9]
        assert run.holdings.container.limits.pids == 9


async def wait_until_refreshed(machine: HostMachine, pids: int) -> None:
    """Wait until the watch has taken over the limits, which is the last thing a change does."""
    with trio.fail_after(DEADLINE):
        while machine.pressure._watched[WEB].limits.pids != pids:
            await wait_all_tasks_blocked(0.01)


@pytest.mark.root
async def test_a_change_of_what_is_given_back_meanwhile_is_no_trouble(workshop: Workshop) -> None:
    """It has no limits any more."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        real.machine.kill(WEB)
        await run.wait()
        await real.machine.ended(WEB)
        newer = evolve(run.holdings.container, limits=Limits(pids=9))
        async with real.machine._refreshing[WEB], trio.open_nursery() as nursery:
            nursery.start_soon(real.machine.refresh, WEB, newer)
            await wait_all_tasks_blocked()
            await real.machine.remove(WEB)
            real.machine._refreshing[WEB].release()
            await wait_all_tasks_blocked()
            await real.machine._refreshing[WEB].acquire()
        assert real.machine.holdings(WEB) is None
        assert real.machine.pressure._watched == {}


@pytest.mark.root
async def test_a_release_goes_on_with_the_others(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group that cannot be killed at once, and one run that cannot be waited for."""
    kill = Cgroup.kill

    def refuse(group: Cgroup) -> None:
        if refused.pop(group, None) is None:
            kill(group)
            return
        raise KernelError(5, "kill", str(group.path))

    with workshop.site(workshop.fleet("replicas = 2")) as site:
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        runs = [await machine.start(InstanceId("web", number)) for number in (1, 2)]
        refused = {run.holdings.cgroup: True for run in runs[:1]}
        runs[0].signal("KILL")
        monkeypatch.setattr(Cgroup, "kill", refuse)
        await trio.to_thread.run_sync(machine.release)
        assert not refused
        assert open_descriptors() == descriptors
