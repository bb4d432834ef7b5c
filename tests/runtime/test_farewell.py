"""The end of all containers at once: nothing left, and little asked of the kernel for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import pytest
import trio

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.cgroup_watch import CgroupWatch
from anchor_supervisor.network import netlink
from anchor_supervisor.network.netlink import Message
from anchor_supervisor.runtime.farewell import HANDS
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.machine import HostMachine
from real_fleet import Workshop, open_descriptors
from waiting import eventually


async def asked_at_the_end_of(
    count: int, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int]:
    """Count what is asked of the kernel while containers that have ended are given back."""
    asked = {"netlink messages": 0, "inotify instances": 0, "kills": 0, "directories read": 0}
    encode, watch, kill, scan = netlink.encode, CgroupWatch.__init__, Cgroup.kill, os.scandir

    def counted_encode(messages: Sequence[Message], first: int, extra: int) -> bytes:
        asked["netlink messages"] += len(messages)
        return encode(messages, first, extra)

    def counted_watch(one: CgroupWatch) -> None:
        asked["inotify instances"] += 1
        watch(one)

    def counted_kill(group: Cgroup) -> None:
        asked["kills"] += 1
        kill(group)

    def counted_scan(directory: int) -> object:
        asked["directories read"] += 1
        return scan(directory)

    fleet = workshop.fleet(f"replicas = {count}", 'networks = ["default"]')
    with monkeypatch.context() as patched, ExitStack() as opened:
        site = opened.enter_context(workshop.site(fleet))
        machine = HostMachine(site, lambda *_: None)
        for number in range(1, count + 1):
            run = await machine.start(InstanceId("web", number))
            run.signal("KILL")
            await run.wait()
        patched.setattr(netlink, "encode", counted_encode)
        patched.setattr(CgroupWatch, "__init__", counted_watch)
        patched.setattr(Cgroup, "kill", counted_kill)
        patched.setattr(os, "scandir", counted_scan)
        await trio.to_thread.run_sync(machine.release)
        await trio.to_thread.run_sync(opened.close)
    return asked


@pytest.mark.root
async def test_ten_containers_ask_no_more_than_one(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link is deleted by itself, no empty group killed or watched, no directory looked into."""
    one = await asked_at_the_end_of(1, workshop, monkeypatch)
    ten = await asked_at_the_end_of(10, workshop, monkeypatch)
    assert ten == one
    assert ten["inotify instances"] == ten["kills"] == 0


@pytest.mark.root
async def test_more_containers_than_hands(workshop: Workshop) -> None:
    """What runs to the last and what has ended: everything of all of them is given back."""
    with workshop.site(workshop.fleet(f"replicas = {2 * HANDS + 1}")) as site:
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        for number in range(1, 2 * HANDS + 2):
            await machine.start(InstanceId("web", number))
        await trio.to_thread.run_sync(machine.release)
        assert open_descriptors() == descriptors
        assert [one for one in site.cgroup.path.iterdir() if one.is_dir()] == []
        assert [*site.writable.iterdir()] == []
        assert [one.name for one in site.run.iterdir()] == ["lock"]


@pytest.mark.root
async def test_a_bug_in_one_is_told_once_the_others_are_given_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever thread meets it."""
    release = Holdings.release

    def broken(held: Holdings) -> None:
        release(held)
        if held.instance.replica == 2:
            raise ZeroDivisionError

    with workshop.site(workshop.fleet("replicas = 3")) as site:
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        for number in (1, 2, 3):
            await machine.start(InstanceId("web", number))
        monkeypatch.setattr(Holdings, "release", broken)
        with pytest.raises(ZeroDivisionError):
            await trio.to_thread.run_sync(machine.release)
        assert open_descriptors() == descriptors


@pytest.mark.root
async def test_what_has_ended_goes_while_others_still_run(workshop: Workshop) -> None:
    """Once the fleet comes to its end, and not before; the others lose nothing by it."""
    first, second = InstanceId("web", 1), InstanceId("web", 2)
    with workshop.site(workshop.fleet("replicas = 2", 'networks = ["default"]')) as site:
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        runs = {one: await machine.start(one) for one in (first, second)}
        held = {one: runs[one].holdings for one in runs}
        runs[first].signal("KILL")
        await runs[first].wait()
        await machine.ended(first)
        assert held[first].cgroup.exists()
        machine.ending = partial(bool, 1)
        await machine.ended(first)
        await machine.ended(first)
        gone = partial(eventually, held[first].directory.exists, lambda there: not there)
        await trio.to_thread.run_sync(partial(gone, what="it was given back"))
        assert not held[first].writable.exists()
        assert not held[first].cgroup.exists()
        assert held[second].cgroup.populated()
        await trio.to_thread.run_sync(machine.release)
        assert open_descriptors() == descriptors
        assert [*site.writable.iterdir()] == []


@pytest.mark.root
async def test_without_threads_it_takes_longer(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread is to be had, who waits for the end does all of it."""

    def refuse(_thread: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with workshop.site(workshop.fleet("replicas = 2")) as site:
        descriptors = open_descriptors()
        machine = HostMachine(site, lambda *_: None)
        for number in (1, 2):
            await machine.start(InstanceId("web", number))
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            machine.release()
        assert open_descriptors() == descriptors
        assert [*site.writable.iterdir()] == []
