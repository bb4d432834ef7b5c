"""Many containers at once: seconds until the last one runs, and how many a second that is.

From the first that is started until the first instruction of the last one; all of them stay. Beside
it what the floor makes in a second, as many at a time as there are processors, in turns with it;
its containers come and go.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
from typing import Any, Final

from fleets import fleet_file, running
from floor import floor_rate
from measure import Results, say
from options import Default, add_option, count, counts
from programs import first_image

MOST: Final = 1000
"""More do not fit on one bridge."""

FLOOR_LEAST: Final = 100
"""Fewer would be over too soon to be timed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    sizes = counts("--sizes", MOST)
    add_option(parser, "--sizes", sizes, Default((10, 100, 300, 1000), (10, 100)), "containers")
    add_option(parser, "--times", count("--times", 100), Default(5, 2), "how often each")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring fleets of every size up and down, with network and without."""
    for network in (True, False):
        for size in options.sizes:
            _burst(results, directory, size, options.times, network=network)


def _burst(results: Results, directory: Path, size: int, times: int, *, network: bool) -> None:
    named = f"burst of {size} {'with network' if network else 'without network'}"
    say(named)
    name = f"burst-{size}-{'net' if network else 'no'}"
    file = fleet_file(directory, name, size, network=network)
    image, width = first_image(directory), len(os.sched_getaffinity(0))
    bursts, commands, floors = [], [], []
    for _ in range(times):
        many = max(size, FLOOR_LEAST)
        floors.append(floor_rate(image, directory, many, network=network, width=width))
        with running(file) as up:
            bursts.append(up.burst)
            commands.append(up.command)
    facts: dict[str, Any] = {"size": size, "network": network}
    results.samples(named, bursts, measured="burst", **facts)
    results.samples(f"{named}, whole command", commands, measured="command", **facts)
    ours = [size / seconds for seconds in bursts]
    results.figure(
        f"{named}, rate",
        median(ours),
        "per second",
        measured="rate",
        ratio_to_floor=round(median(f / o for f, o in zip(floors, ours, strict=True)), 3),
        **facts,
    )
    results.figure(
        f"C floor, {width} at a time, in turns with a {named}",
        median(floors),
        "per second",
        measured="floor",
        **facts,
    )
