"""Many containers brought down: the whole `anchor down`, until nothing of them is left."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleets import down, fleet_file, running
from measure import Results


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--sizes", default="100,1000", help="containers, at most 1000")
    parser.add_argument("--times", type=int, default=3, help="how often each")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring fleets of every size up, and time their end."""
    for size in map(int, options.sizes.split(",")):
        file = fleet_file(directory, f"teardown-{size}", size)
        samples = []
        for _ in range(options.times):
            with running(file):
                samples.append(down(file))
        results.samples(f"anchor down, {size} containers with network", samples, size=size)
