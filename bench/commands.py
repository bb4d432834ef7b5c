"""Whole commands as a person types them: the interpreter's start and all."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleets import fleet_file, running
from measure import Results
from programs import command, first_image, timed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--times", type=int, default=20, help="how often each command")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Time `up`, `ps`, `down` of a small and a larger stack, and `run` of one command."""
    image = str(first_image(directory))
    samples = [timed(*command("main", "run", "-i", image, "/first")) for _ in range(options.times)]
    results.samples("anchor run /first", samples)
    for size in (10, 50):
        file = fleet_file(directory, f"stack-{size}", size)
        ups, lists = [], []
        for _ in range(max(3, options.times // 4)):
            with running(file) as up:
                ups.append(up.command)
                lists += [timed(*command("main", "ps", "-f", str(file))) for _ in range(5)]
        results.samples(f"anchor-supervise --detach, {size} services", ups, size=size)
        results.samples(f"anchor ps, {size} services", lists, size=size)
