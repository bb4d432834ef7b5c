"""What the supervisor needs of memory: by itself, and for each container that runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleets import fleet_file, running, supervisor_pid
from measure import Results


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--sizes", default="1,100,500", help="containers, two sizes at least")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Look at the proportional set size with few containers and with many."""
    found: list[tuple[int, int]] = []
    for size in map(int, options.sizes.split(",")):
        with running(fleet_file(directory, f"memory-{size}", size)) as up:
            found.append((size, proportional_set_size(supervisor_pid(up.name))))
        results.figure(f"supervisor with {size} containers", found[-1][1] / 1024, "MiB", size=size)
    (few, base), (many, most) = found[0], found[-1]
    results.figure("for each container", (most - base) / (many - few), "KiB")
    results.figure(
        "supervisor by itself", (base - (most - base) / (many - few) * few) / 1024, "MiB"
    )


def proportional_set_size(pid: int) -> int:
    """KiB of memory that the process accounts for (proc_pid_smaps_rollup(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    message = f"no Pss of process {pid}"
    raise ValueError(message)
