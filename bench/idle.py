"""What a fleet costs that has nothing to do: wake-ups and processor time, of everything it runs.

Nothing of it should run at all: not the supervisor, not one of its threads, nor a container's init.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.limits import fleet_cgroup
from fleets import fleet_file, running, supervisor_pid
from measure import Results, say
from options import Default, add_option, counts, seconds

SETTLING: Final = 12.0
"""Seconds. Trio's worker threads wait ten for more work before they end."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    sizes = counts("--sizes", 1000)
    add_option(parser, "--sizes", sizes, Default((100, 1000), (100,)), "containers")
    wait = seconds("--seconds")
    add_option(parser, "--seconds", wait, Default(30.0, 5.0), "how long to look")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Count the context switches of the supervisor and of its containers over some seconds."""
    for size in options.sizes:
        with running(fleet_file(directory, f"idle-{size}", size)) as up:
            pid = supervisor_pid(up.name)
            inside = processes(fleet_cgroup(places.fleet_id(up.name)))
            time.sleep(SETTLING)
            say(f"looking for {options.seconds:g} s at a fleet of {size}")
            before, ticks = _looked_at(pid, inside), processor_time(pid)
            time.sleep(options.seconds)
            after, spent = _looked_at(pid, inside), processor_time(pid) - ticks
        facts = {"size": size, "seconds": options.seconds, "processes": len(inside) + 1}
        named = f"an idle fleet of {size}"
        woken = sum(after) - sum(before)
        results.figure(f"wake-ups of {named}", woken, "count", measured="wake-ups", **facts)
        results.figure(
            f"wake-ups of its supervisor, {named}", after[0] - before[0], "count", **facts
        )
        results.figure(
            f"processor time of {named}", spent * 1000, "ms", measured="processor", **facts
        )


def _looked_at(supervisor: int, inside: Sequence[int]) -> tuple[int, int]:
    return switches(supervisor), sum(map(switches, inside))


def processes(cgroup: Cgroup) -> list[int]:
    """Every process of the fleet's containers."""
    found: list[int] = []
    for folder, _, _ in os.walk(cgroup.path):
        found += Cgroup(Path(folder)).processes()
    return found


def switches(pid: int) -> int:
    """How often the process's threads have gone to sleep so far: each had been woken before."""
    total = 0
    with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


def processor_time(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
