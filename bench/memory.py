"""What memory is needed: by the supervisor itself, and for each container that runs.

The supervisor's is its proportional set size. What a container costs beyond that is the kernel's
and its own: what is in use on the whole machine is looked at before, and with many.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arithmetic import slope
from fleets import fleet_file, running, supervisor_pid
from measure import Results, say
from memory_use import InUse, in_use, proportional_set_size
from options import Default, add_option, counts


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    sizes = counts("--sizes", 1000, several=2)
    add_option(parser, "--sizes", sizes, Default((1, 100, 500), (1, 100)), "containers")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Look with few containers and with many."""
    supervisor: list[tuple[int, int]] = []
    machine: list[tuple[int, InUse]] = []
    for size in options.sizes:
        say(f"{size} containers")
        with running(fleet_file(directory, f"memory-{size}", size)) as up:
            pid = supervisor_pid(up.name)
            machine.append((size, in_use()))
            supervisor.append((size, proportional_set_size(pid)))
        mib = supervisor[-1][1] / 1024
        results.figure(f"supervisor with {size} containers", mib, "MiB", size=size)
    each, base = slope(supervisor)
    results.figure("supervisor by itself", base / 1024, "MiB", measured="base")
    results.figure("supervisor, for each container", each, "KiB", measured="each")
    (few, before), (many, after) = machine[0], machine[-1]
    more, number = after.since(before), many - few
    results.figure(
        "the whole machine, for each container",
        more.total / number,
        "KiB",
        measured="machine",
        slab_kib=round(more.slab / number),
        processes_kib=round(more.processes / number),
        files_kib=round(more.files / number),
    )
