"""The acting side: what a failure in the middle of a start leaves, and what a release takes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import trio
from attrs import evolve

from anchor_supervisor.errors import FleetError, HostError, ImageError, NetworkError, Problem
from anchor_supervisor.fleet.model import ExecProbe, InstanceId, Limits
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.kernel.steps import Execute
from anchor_supervisor.rootfs import strategies
from anchor_supervisor.runtime import machine
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

    def refuse(site: Site, instance: InstanceId) -> None:
        message = f"no room for a rule of `{instance}`"
        raise NetworkError(message)

    fleet = workshop.fleet('networks = ["default"]', 'ports = ["127.0.0.1:28476:80"]')
    async with workshop.running(fleet) as real:
        with monkeypatch.context() as patched:
            patched.setattr(Site, "publish", refuse)
            with pytest.raises(NetworkError), trio.fail_after(DEADLINE):
                await real.start()
        assert isinstance(real.machine.failures[WEB], NetworkError)
        assert not real.site.cgroup.populated()
        assert (await real.start()).pid
        assert WEB not in real.machine.failures


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
        ours = {thing for thing in left if thing.split()[0] in {"cgroup", "run", "writable"}}
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

    monkeypatch.setattr(strategies, "copy_content", copied)
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
