"""What a fleet costs that has nothing to do: wake-ups and processor time of its supervisor."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from fleets import fleet_file, running, supervisor_pid
from measure import Results, say


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--sizes", default="100,1000", help="containers")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to look")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Count the supervisor's context switches over some seconds."""
    for size in map(int, options.sizes.split(",")):
        with running(fleet_file(directory, f"idle-{size}", size)) as up:
            pid = supervisor_pid(up.name)
            time.sleep(12.0)  # trio's idle worker threads end after 10 s
            say(f"looking for {options.seconds:g} s at a fleet of {size}")
            before, ticks = switches(pid), processor_time(pid)
            time.sleep(options.seconds)
            woken = switches(pid) - before
            results.figure(f"wake-ups of an idle fleet of {size}", woken, "count", size=size)
            spent = (processor_time(pid) - ticks) * 1000
            results.figure(f"processor time of an idle fleet of {size}", spent, "ms", size=size)


def switches(pid: int) -> int:
    """How often the process's threads have gone to sleep so far: each had been woken before."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def processor_time(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
