"""How long a container is away that crashed: from its last instruction to the next one's first.

The policy is `always` with no delay, so all that is seen is what supervising costs: noticing the
death, storing what was said, deciding, starting. The image is in the store, as images usually are.
The floor takes turns with it.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from arithmetic import all_of, ratio, rounds
from floor import floor_samples
from measure import Results, say
from options import Default, add_option, count
from programs import command, first_image, said, stored_image

FLEET: Final = """
[fleet]
name = "{name}"
[containers.one]
image = "{image}"
command = ["/first", "crash", "{alive}"]
networks = {networks}
restart = {{ when = "always", delay = "0s", max = {count} }}
essential = true
"""
NETWORKS: Final = {True: '["default"]', False: '"none"'}
TURN: Final = 50
WARM_UP: Final = 3
"""Crashes of each turn that do not count: the supervisor itself has only just begun."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    add_option(parser, "--count", count("--count", 10_000), Default(300, 60), "crashes")
    alive = count("--alive", 10_000)
    add_option(parser, "--alive", alive, Default(20, 20), "milliseconds between them")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Let one container crash, in turns with the floor."""
    image = first_image(directory)
    for network in (True, False):
        named = "with network" if network else "without network"
        say(f"{options.count} crashes {named}")
        ours: list[list[float]] = []
        floors: list[list[float]] = []
        for turn, number in enumerate(rounds(options.count, TURN)):
            pairs = floor_samples(image, directory, number, options.alive / 1000, network=False)
            floors.append([first for first, _ in pairs])
            name = f"crash-{'net' if network else 'no'}-{turn}"
            ours.append(crashes(directory, name, number, options.alive, network=network))
        results.samples(
            f"crash to the next first instruction, {named}",
            all_of(ours),
            network=network,
            ratio_to_floor=ratio(ours, floors),
        )
        results.samples(
            f"C floor without network, in turns with it {named}", all_of(floors), strategy="floor"
        )


def crashes(directory: Path, name: str, number: int, alive: int, *, network: bool) -> list[float]:
    """Seconds from each crash to the next first instruction. Raises HostError."""
    file = directory / f"{name}.toml"
    text = FLEET.format(
        name=name,
        image=stored_image(first_image(directory)),
        alive=alive,
        networks=NETWORKS[network],
        count=number + WARM_UP,
    )
    file.write_text(text)
    done = subprocess.run(
        command("supervise", "--quiet", str(file)), check=False, capture_output=True, text=True
    )
    # Exit code 1, since what is essential has given up: that is how it ends.
    if done.returncode != 1:
        why = "".join(done.stderr.splitlines()[-1:])
        message = f"a fleet that crashes ended with {done.returncode}: {why}"
        raise HostError(message)
    return away([int(line) for line in said(name, "one.1")])[WARM_UP:]


def away(moments: list[int]) -> list[float]:
    """Return the seconds between each end and the next beginning: nanoseconds, in turn."""
    begun, ended = moments[0::2], moments[1::2]
    return [(after - before) / 1e9 for before, after in zip(ended, begun[1:], strict=False)]
