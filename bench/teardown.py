"""Many containers brought down: the whole `anchor down`, and until the kernel is done as well.

What the command leaves to the kernel are network namespaces that nobody is in any more: it takes
them apart in its own time, and a link is there until then.
"""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.network.identity import bridge_prefix, veth_prefix
from anchor_supervisor.observability import places
from fleets import down, fleet_file, running
from measure import Results, say
from options import Default, add_option, count, counts

PATIENCE: Final = 120.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    sizes = counts("--sizes", 1000)
    add_option(parser, "--sizes", sizes, Default((100, 1000), (100,)), "containers")
    add_option(parser, "--times", count("--times", 100), Default(5, 2), "how often each")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring fleets of every size up, and time their end."""
    for size in options.sizes:
        say(f"{size} containers, {options.times} times up and down")
        file = fleet_file(directory, f"teardown-{size}", size)
        commands, links = [], []
        for _ in range(options.times):
            with running(file):
                begun = time.perf_counter()
                commands.append(down(file))
                _wait_for_links(file.stem)
                links.append(time.perf_counter() - begun)
        named = f"anchor down, {size} containers with network"
        results.samples(named, commands, size=size, measured="command")
        results.samples(f"{named}, until the last link is gone", links, size=size, measured="links")


def _wait_for_links(fleet: str) -> None:
    """Wait until no link of the fleet's is there. Raises HostError where one stays."""
    identity = places.fleet_id(fleet)
    prefixes = (veth_prefix(identity), bridge_prefix(identity))
    deadline = time.monotonic() + PATIENCE
    while left := [name for _, name in socket.if_nameindex() if name.startswith(prefixes)]:
        if time.monotonic() > deadline:
            message = f"{len(left)} links of `{fleet}` are still there, `{left[0]}` among them"
            raise HostError(message)
        time.sleep(0.005)
