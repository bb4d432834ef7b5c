"""SIGHUP: the files are read once more; a wrong one is told whole, and changes nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import pytest
import trio
from attrs import Factory, define

from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.runtime import reload
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.notify import Notifier
from anchor_supervisor.runtime.rereading import Rereader
from anchor_supervisor.runtime.telling import Teller
from anchor_supervisor.supervision.commands import FleetReady
from live_fleet import LONG, Live, live
from log_lines import captured_logs
from real_fleet import Workshop

pytestmark = pytest.mark.root

WEB = ['[containers.web]', 'image = "ROOTFS"', 'networks = "none"']  # fmt: skip
FIRST = [*WEB, 'command = ["sleep", "1000"]']


@final
@define(eq=False)
class Manager:
    """A service manager: what it has been told, line by line."""

    inbox: socket.socket
    lines: list[str] = Factory(list)

    async def until(self, line: str) -> list[str]:
        """Read on until this is said; give all that was said before."""
        with trio.fail_after(LONG):
            while line not in self.lines:
                await trio.lowlevel.wait_readable(self.inbox)
                self.lines += self.inbox.recv(4096).decode().split("\n")
        place = self.lines.index(line)
        said, self.lines = self.lines[:place], self.lines[place + 1 :]
        return said


@asynccontextmanager
async def rereading(fleet: Live, place: Path) -> AsyncIterator[tuple[Rereader, Manager]]:
    """Read the files of this fleet again whenever asked; it has been ready before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.setblocking(False)
        inbox.bind(str(place / "notify"))
        notifier = Notifier(str(place / "notify"))
        teller = Teller(Reporter(None), EventLog(Journal(place / "journal")), notifier)
        teller.tell(FleetReady())
        rereader = Rereader(fleet.changes, teller, {})
        manager = Manager(inbox)
        await manager.until("READY=1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rereader.run)
            yield rereader, manager
            nursery.cancel_scope.cancel()
        teller.journal.close()


async def test_the_files_are_read_once_more(workshop: Workshop, tmp_path: Path) -> None:
    """What changed is done, and the service manager is told when it begins and when it is through.

    As sd_notify(3) asks: RELOADING=1 with CLOCK_MONOTONIC, READY=1 afterwards.
    """
    async with live(workshop, *FIRST) as fleet, rereading(fleet, tmp_path) as (rereader, manager):
        pid, before = fleet.pid("web.1"), time.monotonic_ns() // 1000
        workshop.write(*WEB, 'command = ["sleep", "1001"]')
        rereader.ask()
        await manager.until("RELOADING=1")
        said = await manager.until("READY=1")
        [moment] = [line for line in said if line.startswith("MONOTONIC_USEC=")]
        assert before <= int(moment.partition("=")[2]) <= time.monotonic_ns() // 1000
        assert fleet.pid("web.1") != pid
        pid = fleet.pid("web.1")
        rereader.ask()
        await manager.until("RELOADING=1")
        await manager.until("READY=1")
        assert fleet.pid("web.1") == pid


async def test_a_wrong_file_is_told_whole_and_changes_nothing(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Every problem with its file and line; the fleet goes on, and so does the next SIGHUP."""
    async with live(workshop, *FIRST) as fleet, rereading(fleet, tmp_path) as (rereader, manager):
        pid = fleet.pid("web.1")
        path = workshop.write(*FIRST, "replicas = 'many'", "nonsense = 1")
        with captured_logs() as logged:
            rereader.ask()
            await manager.until("RELOADING=1")
            await manager.until("READY=1")
        told = [str(entry["event"]) for entry in logged if entry["log_level"] == "error"]
        assert told[0] == "the fleet stays as it is: the change was refused"
        assert told[1].startswith(f"{path}:5: containers.web.replicas: ")
        assert told[2].startswith(f"{path}:6: containers.web.nonsense: ")
        assert fleet.pid("web.1") == pid
        workshop.write(*FIRST, "replicas = 2")
        rereader.ask()
        await manager.until("READY=1")
        assert fleet.names() == ["web.1", "web.2"]


async def test_a_later_signal_overtakes_an_update(workshop: Workshop, tmp_path: Path) -> None:
    """Whoever has noticed his mistake need not wait until it has failed."""
    never = 'health = { exec = ["false"], interval = "1h" }'
    async with live(workshop, *FIRST) as fleet, rereading(fleet, tmp_path) as (rereader, manager):
        workshop.write(*WEB, 'command = ["sleep", "1001"]', never)
        rereader.ask()
        await manager.until("RELOADING=1")
        while not fleet.changed:
            await fleet.supervisor.changed()
        workshop.write(*FIRST)
        rereader.ask()
        await manager.until("RELOADING=1")
        await manager.until("READY=1")
        assert fleet.status("web.1").health == "none"


async def test_what_nobody_thought_of_ends_nothing(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written down, the service manager is not left waiting, and the next SIGHUP is heard."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with live(workshop, *FIRST) as fleet, rereading(fleet, tmp_path) as (rereader, manager):
        with monkeypatch.context() as patched, captured_logs() as logged:
            patched.setattr(reload, "load_files", fail)
            rereader.ask()
            await manager.until("READY=1")
        assert "bug" in [entry["event"] for entry in logged]
        workshop.write(*FIRST, "replicas = 2")
        rereader.ask()
        await manager.until("READY=1")
        assert fleet.names() == ["web.1", "web.2"]
