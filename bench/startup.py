"""How long a container takes to start, a fleet to come up, and `anchor ps` to answer.

Prints one JSON object a line: what was measured, how often, and the milliseconds at p50, p95, p99
and at worst. Nothing here passes or fails. Run it as root on an otherwise idle machine::

    python bench/startup.py [--count 100] [--fleet-size 50]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import trio

from anchor_supervisor.fleet.model import Fleet, InstanceId, instances
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import raise_open_files
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.site import open_site
from anchor_supervisor.runtime.sweep import sweep_locked
from measure import own_directories, report, report_machine

SLEEPERS = """
[fleet]
name = "{name}"
[containers.sleeper]
image = "host"
command = ["sleep", "1000"]
replicas = {count}
"""


def fleet_of(name: str, count: int) -> Fleet:
    """A fleet of replicas that sleep."""
    text = SLEEPERS.format(name=name, count=count)
    return loads(text, file=None, directory="/", environment={})


async def time_starts(machine: HostMachine, gap: float) -> tuple[list[float], list[float]]:
    """Seconds from wanting a container until its command is executed: first starts, restarts.

    `gap` in seconds between them: back to back, some kernel costs hide behind the last one's.
    """
    first: list[float] = []
    again: list[float] = []
    for instance in instances(machine.site.fleet):
        for samples in (first, again):
            begun = time.perf_counter()
            run = await machine.start(instance)
            samples.append(time.perf_counter() - begun)
            machine.kill(instance)
            await run.wait()
            await trio.sleep(gap)
    return first, again


def bench_starts(count: int, gap: float) -> None:
    """One container after the other, with overlay, every namespace, and network."""
    fleet = fleet_of("starts", count)
    with fleet_lock(places.fleet_run_dir(fleet.name), fleet.name), open_site(fleet) as site:
        machine = HostMachine(site, _nobody)
        first, again = trio.run(time_starts, machine, gap)
        machine.release()
        sweep_locked(fleet.name)
    words = f"gap {gap * 1000:.0f} ms"
    report(f"start: new sandbox, overlay, all namespaces, network ({words})", first)
    report(f"start: sandbox kept, as in a restart ({words})", again)


def _nobody(_instance: InstanceId, _stream: str, _data: bytes) -> None:
    """Nobody listens."""


def timed(*command: str) -> float:
    """Seconds that a whole command takes. Raises CalledProcessError where it fails."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    return time.perf_counter() - begun


def bench_fleet(directory: Path, size: int, times: int) -> None:
    """A whole fleet up and down, and `ps` of it: whole commands, the interpreter's start too."""
    file = directory / "burst.toml"
    file.write_text(SLEEPERS.format(name="burst", count=size))
    cli = "anchor_supervisor.cli"
    ups, lists, downs = [], [], []
    for _ in range(times):
        ups.append(timed(f"{cli}.supervise", "--detach", str(file)))
        lists += [timed(f"{cli}.main", "ps", "-f", str(file)) for _ in range(5)]
        downs.append(timed(f"{cli}.main", "down", "-f", str(file)))
    report(f"anchor-supervise --detach, {size} containers with network", ups)
    report(f"anchor ps, {size} containers", lists)
    report(f"anchor down, {size} containers", downs)


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="Time the start of containers.")
    parser.add_argument("--count", type=int, default=100, help="containers, one after the other")
    parser.add_argument("--fleet-size", type=int, default=50, help="containers at once")
    parser.add_argument("--times", type=int, default=5, help="how often the fleet comes up")
    options = parser.parse_args()
    report_machine()
    with own_directories() as directory:
        bench_fleet(directory, 1, options.times)
        bench_fleet(directory, options.fleet_size, options.times)
        raise_open_files()
        private_mount_namespace()
        for gap in (0.0, 0.02):
            bench_starts(options.count, gap)
    return 0


if __name__ == "__main__":
    sys.exit(main())
