"""Many containers at once: seconds until the last one runs, and how many a second that is."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleets import fleet_file, running
from measure import Results


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--sizes", default="10,100,1000", help="containers, at most 1000")
    parser.add_argument("--times", type=int, default=3, help="how often each")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring fleets of every size up and down, with network and without."""
    for network in (True, False):
        named = "with network" if network else "without network"
        for size in map(int, options.sizes.split(",")):
            file = fleet_file(
                directory, f"burst-{size}-{'net' if network else 'no'}", size, network=network
            )
            bursts, commands = [], []
            for _ in range(options.times):
                with running(file) as up:
                    bursts.append(up.burst)
                    commands.append(up.command)
            p50 = results.samples(f"burst of {size} {named}", bursts, size=size, network=network)
            results.samples(f"burst of {size} {named}, whole command", commands, size=size)
            results.figure(
                f"burst of {size} {named}, rate", size / p50 * 1000, "per second", size=size
            )
