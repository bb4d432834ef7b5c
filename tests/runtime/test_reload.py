"""A fleet that changes while it runs: real containers, and nothing of what went is left."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest
import trio
from attrs import evolve

from anchor_supervisor.control.handler import Wanted
from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.errors import (
    AnchorError,
    ControlError,
    FleetError,
    NetworkError,
    UnfitHostError,
)
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.network.plan import Endpoint
from anchor_supervisor.network.veths import Veths
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.reload import source_of
from anchor_supervisor.supervision import commands, events
from anchor_supervisor.supervision.states import State
from leaks import Snapshot
from live_fleet import Live, live
from real_fleet import Workshop, open_descriptors, sh
from waiting import eventually

pytestmark = pytest.mark.root

SLEEP = 'command = ["sleep", "1000"]'


def container(name: str, *lines: str, network: bool = False) -> list[str]:
    """The lines of one container over the root, which sleeps."""
    given = {line.partition("=")[0].strip() for line in lines}
    usual = ['image = "ROOTFS"', SLEEP, *([] if network else ['networks = "none"'])]
    kept = [line for line in usual if line.partition("=")[0].strip() not in given]
    return [f"[containers.{name}]", *kept, *lines]


def start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def command_of(pid: int) -> bytes:
    """What our init, the main process, has executed."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return Path(f"/proc/{child}/cmdline").read_bytes()


def ports_of(bridge: str) -> int | None:
    """How many interfaces are joined to a bridge; None: there is no such bridge."""
    place = Path(f"/sys/class/net/{bridge}/brif")
    return len(list(place.iterdir())) if place.exists() else None


async def test_one_of_twenty_is_touched(workshop: Workshop) -> None:
    """The others keep their pid and start time."""
    twenty = [container(f"c{number}") for number in range(20)]
    async with live(workshop, *chain(*twenty)) as fleet:
        before = {name: (fleet.pid(name), start_time(fleet.pid(name))) for name in fleet.names()}
        twenty[7] = container("c7", 'command = ["sleep", "1001"]')
        change = await fleet.apply(*chain(*twenty))
        assert [one["container"] for one in change.plan["containers"]] == ["c7"]
        after = {name: (fleet.pid(name), start_time(fleet.pid(name))) for name in fleet.names()}
        assert {name for name in before if before[name] != after[name]} == {"c7.1"}
        assert b"1001" in command_of(after["c7.1"][0])


async def test_scaled_up_and_down_with_nothing_left(workshop: Workshop) -> None:
    """What went is gone whole: cgroup, directories, ids, interfaces, names and descriptors."""
    lines = container("web", network=True) + container("db", network=True)
    async with live(workshop, *lines) as fleet:
        hosts = workshop.run_dir / "shop/db.1/etc/hosts"
        inode, text = hosts.stat().st_ino, hosts.read_text()
        await fleet.apply(*lines)
        before, descriptors = Snapshot.take(workshop.run_dir), open_descriptors()
        await fleet.scale(web=4)
        assert fleet.names() == ["web.1", "web.2", "web.3", "web.4", "db.1"]
        assert len({fleet.pid(name) for name in fleet.names()}) == 5
        address = fleet.site.address(InstanceId("web", 4))
        assert f"{address}\tweb.4 web\n" in hosts.read_text()
        assert hosts.stat().st_ino == inode
        await fleet.scale(web=1)
        assert fleet.names() == ["web.1", "db.1"]
        assert hosts.read_text() == text
        assert not fleet.holds("web.4")
        assert open_descriptors().keys() == descriptors.keys()
        await trio.to_thread.run_sync(_nothing_new, before, workshop)


def _nothing_new(before: Snapshot, workshop: Workshop) -> None:
    """A veth goes with its namespace, in the kernel's own time."""
    eventually(
        lambda: Snapshot.take(workshop.run_dir).since(before),
        lambda new: not new,
        what="nothing is left of the replicas that went",
    )


async def test_a_new_network_while_the_fleet_runs(workshop: Workshop) -> None:
    """A container that moves is on its new network; the bridge it left is gone once it has."""
    old = container("web", 'networks = ["front"]') + container("db", 'networks = ["front"]')
    new = container("web", 'networks = ["back"]') + container("db", 'networks = ["back"]')
    tables = ["[networks.front]", "[networks.back]"]
    async with live(workshop, *old, *tables) as fleet:
        pid = fleet.pid("web.1")
        front = fleet.site.plan.bridges["front"].name
        await fleet.apply(*new, *tables)
        assert fleet.pid("web.1") != pid
        back = fleet.site.plan.bridges["back"].name
        assert front != back
        assert (ports_of(front), ports_of(back)) == (None, 2)
        assert len(fleet.site.layouts) == 1


async def test_ports_come_and_go_live(workshop: Workshop) -> None:
    """A port of a running container is led to it at once, and let go when the file drops it."""
    httpd = 'command = ["httpd", "-f", "-p", "80", "-h", "/srv"]'
    serve = container("web", httpd, "health = { tcp = 80 }", network=True)
    async with live(workshop, *serve) as fleet:
        await fleet.until_healthy("web.1")
        pid = fleet.pid("web.1")
        await fleet.apply(*serve, 'ports = ["28511:80"]')
        assert fleet.pid("web.1") == pid
        assert await _get(28511) == "it runs\n"
        await fleet.apply(*serve, 'ports = ["0.0.0.0:28511:80"]')
        assert await _get(28511) == "it runs\n"
        await fleet.apply(*serve)
        socket.create_server(("127.0.0.1", 28511)).close()
        assert fleet.pid("web.1") == pid


async def test_a_port_inside_that_changes_with_the_program(workshop: Workshop) -> None:
    """Until a replica is replaced its old port is led to: who asks is answered all the while."""

    def serve(port: int) -> list[str]:
        command = f'command = ["httpd", "-f", "-p", "{port}", "-h", "/srv"]'
        update = 'update = { order = "start-first", monitor = "0s", drain = "0s" }'
        health = f"health = {{ tcp = {port} }}"
        return container("web", command, health, f'ports = ["28512:{port}"]', update, network=True)

    async with live(workshop, *serve(80)) as fleet:
        await fleet.until_healthy("web.1")
        pid = fleet.pid("web.1")
        change = await fleet.begin(*serve(81))
        assert fleet.pid("web.1") == pid
        assert await _get(28512) == "it runs\n"
        await fleet.through(change)
        assert fleet.pid("web.1") != pid
        assert await _get(28512) == "it runs\n"


async def _get(port: int) -> str:
    with trio.fail_after(5):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET /index.html HTTP/1.0\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
    return answer.partition(b"\r\n\r\n")[2].decode()


WRONG: dict[str, tuple[list[str], type[AnchorError], str]] = {
    "a typing mistake": (container("web", "replicass = 2"), FleetError, "replicass"),
    "an image that is not there": (
        container("web", 'image = "./nowhere"'), FleetError, "does not exist",
    ),
    "a program that is not there": (
        container("web", 'command = ["/bin/nothing"]'), FleetError, "was not found",
    ),
    "a source that is not there": (
        container("web", 'volumes = ["./nowhere:/mnt"]'), FleetError, "there is no",
    ),
    "another name": (
        ["[fleet]", 'name = "other"', *container("web")], FleetError, "is of fleet `other`",
    ),
    "no room for an address": (
        [*container("web", 'networks = ["tight"]', "replicas = 4"),
         "[networks.tight]", 'subnet = "10.99.8.0/30"'], AnchorError, "10.99.8.0/30",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_file_changes_nothing(workshop: Workshop, what: str) -> None:
    """Everything is said, with its place, before anything has changed."""
    lines, kind, words = WRONG[what]
    async with live(workshop, *container("web"), *container("db")) as fleet:
        before = _facts(fleet, workshop)
        with pytest.raises(kind, match=words):
            await fleet.begin(*lines)
        assert _facts(fleet, workshop) == before


def _facts(fleet: Live, workshop: Workshop) -> tuple[object, ...]:
    """What a refused change must not have touched."""
    pids = {name: fleet.pid(name) for name in fleet.names()}
    held = open_descriptors().keys()
    return pids, fleet.supervisor.core.fleet, fleet.site.layouts, len(fleet.said), held


async def test_a_port_in_use_changes_nothing(workshop: Workshop) -> None:
    """Also where it was taken between the check and the change: the old plan is put back."""
    lines = container("web", 'ports = ["28521:80"]', network=True)
    async with live(workshop, *lines) as fleet:
        before = _facts(fleet, workshop)
        more = container("web", 'ports = ["28521:80", "28522:81"]', network=True)
        with socket.create_server(("127.0.0.1", 28522)):
            with pytest.raises(UnfitHostError, match="28522"):
                await fleet.begin(*more)
            assert _facts(fleet, workshop)[:-1] == before[:-1]
        ready = await fleet.reloader.prepare(_wanted(workshop, *more))
        with socket.create_server(("127.0.0.1", 28522)), pytest.raises(AnchorError, match="28522"):
            await fleet.reloader.begin(ready, lambda: None)
        assert _facts(fleet, workshop) == before
        await fleet.apply(*more)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", 28522))


def _wanted(workshop: Workshop, *lines: str) -> Wanted:
    return Wanted((str(workshop.write(*lines)),), (), {})


async def test_networks_that_cannot_be_put_up_are_put_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a new plan is undone, and what ran goes on with the old one."""
    lines = container("web", 'networks = ["front"]')
    more = [*lines, *container("db", 'networks = ["back"]'), "[networks.front]", "[networks.back]"]
    async with live(workshop, *lines, "[networks.front]") as fleet:
        before = _facts(fleet, workshop)
        links = Snapshot.take(workshop.run_dir)
        reflections = Veths.reflections
        failures = iter([True])

        def refuse(veths: Veths, endpoints: Iterable[Endpoint]) -> object:
            if next(failures, False):
                message = "no more interfaces"
                raise NetworkError(message)
            return reflections(veths, endpoints)

        with monkeypatch.context() as patched:
            patched.setattr(Veths, "reflections", refuse)
            with pytest.raises(NetworkError, match="no more interfaces"):
                await fleet.begin(*more)
        assert _facts(fleet, workshop)[:-1] == before[:-1]
        assert not Snapshot.take(workshop.run_dir).since(links)
        await fleet.apply(*more)
        assert fleet.names() == ["web.1", "db.1"]


async def test_a_failed_update_is_rolled_back(workshop: Workshop) -> None:
    """The old value runs again, its networks stand, and what it took to try is gone."""
    old = container("web", 'networks = ["front"]', 'update = { on_failure = "rollback" }')
    ill = 'health = { exec = ["false"], interval = "100ms", retries = 1 }'
    new = container("web", 'networks = ["back"]', 'update = { on_failure = "rollback" }', ill)
    tables = ["[networks.front]", "[networks.back]"]
    async with live(workshop, *old, *tables) as fleet:
        back = await fleet.apply(*new, *tables)
        assert fleet.status("web.1").state is State.RUNNING
        [ended] = [one for one in fleet.said if isinstance(one, commands.UpdateEnded)]
        assert ended.result is commands.UpdateResult.ROLLED_BACK
        assert fleet.changes.is_over(back)
        assert set(fleet.site.plan.bridges) == {"front"}
        assert len(fleet.site.layouts) == 1
        assert fleet.site.fleet is fleet.supervisor.core.fleet


async def test_what_an_update_adds_is_known_to_nobody(workshop: Workshop) -> None:
    """Start-first: an additional replica has an address, and no name in anybody's hosts."""
    update = 'update = { order = "start-first" }'
    old = container("web", update, network=True) + container("db", network=True)
    new = container("web", update, sh("sleep 1000"), network=True) + container("db", network=True)
    async with live(workshop, *old) as fleet:
        hosts = workshop.run_dir / "shop/db.1/etc/hosts"
        text = hosts.read_text()
        await fleet.apply(*new)
        spawned = [str(one.instance) for one in fleet.said if isinstance(one, commands.Spawn)]
        assert spawned == ["web.1", "db.1", "web.2", "web.1"]
        assert hosts.read_text() == text
        assert fleet.names() == ["web.1", "db.1"]
        assert not fleet.holds("web.2")


async def test_a_change_while_the_fleet_starts(workshop: Workshop) -> None:
    """Nobody has to wait for readiness to change his mind."""
    never = 'health = { exec = ["false"], interval = "1h" }'
    lines = container("web") + container("db")
    async with live(workshop, *lines) as fleet:
        slow = container("web") + container("db", sh("sleep 999"), never)
        await fleet.begin(*slow)
        await fleet.until("db.1", State.STARTING, State.RUNNING)
        await fleet.apply(*lines)
        assert fleet.status("db.1").health == "none"


async def test_a_stopping_fleet_is_not_changed(workshop: Workshop) -> None:
    """It says so, and what was made ready for it is let go."""
    deaf = sh("trap '' TERM; while :; do sleep 1; done")
    async with live(workshop, *container("web", deaf)) as fleet:
        await fleet.supervisor.order(events.FleetStopRequested())
        with pytest.raises(Refused, match="stopping"):
            await fleet.begin(*container("web"))
        os.kill(fleet.status("web.1").pid or 0, signal.SIGKILL)


def test_a_fleet_of_no_file_cannot_be_read_again(workshop: Workshop) -> None:
    """It is told so; one of a file knows its files, profiles and whose environment counts."""
    fleet = workshop.fleet()
    wanted = source_of(fleet, {"A": "b"})
    assert wanted.files == (str(workshop.run_dir.parent / "shop.toml"),)
    with pytest.raises(ControlError, match="was read from no file"):
        source_of(evolve(fleet, files=()), {})
    assert places.fleet_run_dir("shop").is_relative_to(workshop.run_dir)
