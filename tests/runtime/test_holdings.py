"""What an instance holds: kept over restarts, given back at the end, and never half taken."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from attrs import evolve

from anchor_supervisor.errors import AnchorError, KernelError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.network.fleet_network import FleetNetwork
from anchor_supervisor.network.plan import NetworkPlan
from anchor_supervisor.runtime import holdings, limits
from anchor_supervisor.runtime.holdings import acquire, host_name
from anchor_supervisor.runtime.id_ranges import IdRanges
from anchor_supervisor.runtime.output import OutputPump
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.supervision.states import ExitStatus
from real_fleet import WEB, Workshop, open_descriptors, sh

pytestmark = pytest.mark.root


async def test_a_restart_keeps_what_the_instance_holds(workshop: Workshop) -> None:
    """Address, network, ipc and user namespace, cgroup and writable layer are the same again."""
    look = sh(
        "cat /left 2>/dev/null; echo ran >> /left; ip -4 -o address show eth0;"
        "for kind in net ipc uts user; do readlink /proc/self/ns/$kind; done"
    )
    async with workshop.running(workshop.fleet(look, 'networks = ["default"]')) as real:
        run = await real.start()
        assert await run.wait() == ExitStatus(code=0)
        first = real.said()
        again = await real.start()
        assert await again.wait() == ExitStatus(code=0)
        second = real.said().removeprefix(first)
        assert again.holdings is run.holdings
        assert f"inet {run.holdings.address}/" in first
    assert second == f"ran\n{first}"


async def test_two_instances_share_nothing_but_the_network(workshop: Workshop) -> None:
    """Ids, groups, layers and namespaces are each one's own."""
    async with workshop.running(workshop.fleet("replicas = 2")) as real:
        one, two = [(await real.start(InstanceId("web", n))).holdings for n in (1, 2)]
        assert one.ids is not None
        assert two.ids is not None
        assert abs(one.ids.first - two.ids.first) >= one.ids.count
        assert one.writable != two.writable
        assert one.cgroup != two.cgroup
        for mine, other in zip(_namespaces(one), _namespaces(two), strict=True):
            assert mine != other


def _namespaces(held: holdings.Holdings) -> list[int]:
    box = held.sandbox
    return [os.fstat(fd).st_ino for fd in (box.user, box.net, box.ipc, box.uts) if fd is not None]


def full(*_: object, **__: object) -> None:
    """A step that finds the machine full."""
    raise KernelError(28, "take")


PERFORM = libc.perform
FAILURES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the range of ids": lambda m: m.setattr(IdRanges, "take", full),
    "the cgroup": lambda m: _step_by_step(m, Cgroup, "create"),
    "the limits": lambda m: _step_by_step(m, limits, "apply_limits"),
    "the namespaces": lambda m: m.setattr(holdings, "create_sandbox", full),
    "the interfaces": lambda m: m.setattr(Site, "attach", full),
    "the log": lambda m: m.setattr(holdings, "_log", full),
    "the fifos": lambda m: m.setattr(OutputPump, "open", full),
    "the second fifo": lambda m: m.setattr(libc, "perform", _after_the_first_fifo),
    "the files of etc": lambda m: m.setattr(holdings, "_write_etc", full),
    "the descriptor of the cgroup": lambda m: _step_by_step(m, Cgroup, "open"),
}


def _step_by_step(patched: pytest.MonkeyPatch, where: object, step: str) -> None:
    """Let a step of what is done where a cgroup cannot be made at once find the machine full."""
    patched.setattr(Cgroup, "make", full)
    patched.setattr(where, step, full)


def _after_the_first_fifo(
    calls: Sequence[libc.Call], words: str, subject: str | None = None
) -> list[int]:
    """Let the device that is always full take the place of the second one."""
    if calls[0][0] == "mknodat":
        full_device: libc.Call = ("openat", libc.AT_FDCWD, b"/dev/full", os.O_WRONLY, 0)
        calls = [calls[0], full_device, ("write", libc.Result(1), b"x", 1)]
    return PERFORM(calls, words, subject)


@pytest.mark.parametrize("what", FAILURES)
def test_whatever_cannot_be_taken_nothing_is_held(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A failed acquisition gives back what it took before, and the next one finds all free."""
    with workshop.site(workshop.fleet()) as site:
        _exercise(site)  # what is made once and stays (directories of all fleets) is made now
        before = _held(workshop, site)
        with monkeypatch.context() as patched:
            FAILURES[what](patched)
            with pytest.raises(KernelError, match="No space left on device"):
                acquire(site, WEB, site.fleet.containers["web"], _nobody)
        assert _held(workshop, site) == before
        _exercise(site)
        assert _held(workshop, site) == before


def test_nothing_is_let_go_while_the_network_is_being_joined(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a namespace that was closed might by then be another's."""
    begun, gate = threading.Event(), threading.Event()
    seen: list[str] = []
    attach_many = FleetNetwork.attach_many

    def slow(
        network: FleetNetwork, several: Sequence[tuple[InstanceId, int, NetworkPlan]]
    ) -> list[AnchorError | None]:
        begun.set()
        gate.wait()
        seen.extend(os.readlink(f"/proc/self/fd/{net}") for _, net, _ in several)
        return attach_many(network, several)

    monkeypatch.setattr(FleetNetwork, "attach_many", slow)
    with workshop.site(workshop.fleet('networks = ["default"]')) as site:
        held = acquire(site, WEB, site.fleet.containers["web"], _nobody)
        assert held.sandbox.net is not None
        namespace = os.readlink(f"/proc/self/fd/{held.sandbox.net}")
        begun.wait()
        releasing = threading.Thread(target=held.release)
        releasing.start()
        gate.set()
        releasing.join()
    assert seen == [namespace]


def _exercise(site: Site) -> None:
    acquire(site, WEB, site.fleet.containers["web"], _nobody).release()


def _nobody(_instance: InstanceId, _stream: str, _data: bytes) -> None:
    """Listen to nothing."""


def _held(workshop: Workshop, site: Site) -> object:
    """All that this process and its directories hold; the log stays, for it is to be read."""
    files = [
        path
        for top in (workshop.run_dir, workshop.data_dir / "fleets")
        for path in sorted(top.rglob("*"))
    ]
    groups = sorted(path.name for path in site.cgroup.path.iterdir() if path.is_dir())
    return open_descriptors(), files, groups


def test_a_release_stops_at_nothing(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thing that cannot be given back does not keep the others."""
    with workshop.site(workshop.fleet()) as site:
        _exercise(site)
        before = _held(workshop, site)
        held = acquire(site, WEB, site.fleet.containers["web"], _nobody)
        close = OutputPump.close

        def closed(pump: OutputPump) -> None:
            close(pump)
            full()

        monkeypatch.setattr(OutputPump, "close", closed)
        with suppress(KernelError):
            held.release()
        assert _held(workshop, site) == before


def test_host_names_tell_replicas_apart(workshop: Workshop) -> None:
    """A single container has its own name, replicas are numbered."""
    alone = workshop.fleet(name="alone").containers["web"]
    named = workshop.fleet('hostname = "front"', "replicas = 2", name="named").containers["web"]
    assert host_name(alone, WEB) == "web"
    assert host_name(named, InstanceId("web", 2)) == "front-2"


def test_what_was_given_back_is_not_written_to(workshop: Workshop) -> None:
    """A change of the fleet may bring /etc/hosts in line just then: no directory comes back."""
    lines = ("replicas = 2", 'networks = ["default"]')
    with workshop.site(workshop.fleet(*lines)) as site:
        container = site.fleet.containers["web"]
        held = acquire(site, WEB, container, _nobody)
        held.container = evolve(container, extra_hosts={"other": "10.0.0.9"})
        held.release()
        held.rewrite_hosts(site)
        assert not held.directory.exists()
        acquire(site, WEB, container, _nobody).release()


def test_the_network_forgets_who_could_not_be_taken(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else's interfaces or ports are led to it any more."""
    forgotten: list[InstanceId] = []
    forget = Site.forget

    def noted(site: Site, instance: InstanceId) -> None:
        forgotten.append(instance)
        forget(site, instance)

    monkeypatch.setattr(Site, "forget", noted)
    with workshop.site(workshop.fleet('networks = ["default"]')) as site:
        FAILURES["the fifos"](monkeypatch)
        with pytest.raises(KernelError):
            acquire(site, WEB, site.fleet.containers["web"], _nobody)
        assert forgotten == [WEB]
