"""A real fleet of containers inside the test's own process: its site, its machine, what it said."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, final

import trio
from attrs import Factory, define, frozen

from anchor_supervisor.fleet.model import Fleet, InstanceId
from anchor_supervisor.fleet.parse import load
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.output import OutputPump
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.site import Site, open_site
from anchor_supervisor.runtime.sweep import sweep_locked
from anchor_supervisor.supervision.states import ExitStatus
from waiting import DEADLINE

WEB: Final = InstanceId("web")


def sh(script: str) -> str:
    """The line of a fleet file that runs this script."""
    return f"command = {json.dumps(['sh', '-c', script.replace('$', '$$')])}"


def open_descriptors() -> dict[int, str]:
    """What this process holds open, and to what each leads."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that listed the directory
            continue
    return found


def writer_ends(pump: OutputPump) -> tuple[int, int]:
    """What a run writes its output to; the caller closes both."""
    handover = Handover()
    ends = pump.ask_ends(handover, os.getuid(), os.getgid())
    with Descriptors() as opened:
        given = handover.open(opened)
        out, err = (opened.leave(given[end.place]) for end in ends)
    return out, err


@final
@frozen
class Workshop:
    """A run directory and a data directory, in which fleets can be opened."""

    rootfs: Path
    run_dir: Path
    data_dir: Path

    def fleet(self, *lines: str, name: str = "shop") -> Fleet:
        """One container `web` over the root, with these lines; it sleeps, without a network."""
        given = {line.partition("=")[0].strip() for line in lines if not line.startswith("[")}
        usual = {
            "image": f'"{self.rootfs}"',
            "command": '["sleep", "1000"]',
            "networks": '"none"',
        }
        defaults = [f"{key} = {value}" for key, value in usual.items() if key not in given]
        return self.file("[containers.web]", *defaults, *lines, name=name)

    def file(self, *lines: str, name: str = "shop") -> Fleet:
        """The fleet that a file with these lines asks for."""
        return load(self.write(*lines, name=name), {})

    def write(self, *lines: str, name: str = "shop") -> Path:
        """Write such a file; `ROOTFS` in it stands for the root."""
        path = self.run_dir.parent / f"{name}.toml"
        path.write_text("\n".join(lines).replace("ROOTFS", str(self.rootfs)) + "\n")
        return path

    @contextmanager
    def site(self, fleet: Fleet, *, check_programs: bool = True) -> Iterator[Site]:
        """Open the site as a supervisor does: beneath the fleet's lock, swept at the end."""
        with ExitStack() as opened:
            opened.enter_context(fleet_lock(places.fleet_run_dir(fleet.name), fleet.name))
            opened.callback(sweep_locked, fleet.name)
            yield opened.enter_context(open_site(fleet, check_programs=check_programs))

    @asynccontextmanager
    async def running(self, fleet: Fleet, *, check_programs: bool = True) -> AsyncIterator[Real]:
        """A machine for the fleet, whose output is carried; everything is released at the end."""
        with self.site(fleet, check_programs=check_programs) as site:
            real = Real(site)
            try:
                async with trio.open_nursery() as nursery:
                    real.machine.attach(nursery)
                    try:
                        yield real
                    finally:
                        nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(real.machine.release)


@final
@define(eq=False)
class Real:
    """The machine under test."""

    site: Site
    heard: dict[tuple[InstanceId, str], bytes] = Factory(lambda: defaultdict(bytes))
    machine: HostMachine = Factory(
        lambda self: HostMachine(self.site, self._listen), takes_self=True
    )

    async def start(self, instance: InstanceId = WEB) -> HostRun:
        """Start a run."""
        return await self.machine.start(instance)

    async def complete(self, instance: InstanceId = WEB) -> ExitStatus:
        """Start a run and wait for its end."""
        run = await self.start(instance)
        with trio.fail_after(DEADLINE):
            status = await run.wait()
        await self.machine.ended(instance)
        return status

    def said(self, instance: InstanceId = WEB, stream: str = "stdout") -> str:
        """All that an instance has said."""
        return self.heard[instance, stream].decode()

    async def until_said(self, words: str, instance: InstanceId = WEB) -> str:
        """Wait until an instance has said `words`."""
        with trio.fail_after(DEADLINE):
            while words not in self.said(instance):
                await self.machine.more_output()
        return self.said(instance)

    def _listen(self, instance: InstanceId, stream: str, data: bytes) -> None:
        self.heard[instance, stream] += data
