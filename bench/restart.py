"""How long a container is away that crashed: from its last instruction to the next one's first.

The policy is `always` with no delay, so all that is seen is what supervising costs: noticing the
death, storing what was said, deciding, starting.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Final

from floor import floor_samples
from measure import Results
from programs import command, first_image, said

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
NETWORKS: Final = {"net": '["default"]', "nonet": '"none"'}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--count", type=int, default=300, help="crashes")
    parser.add_argument("--alive", type=int, default=20, help="milliseconds between them")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Let one container crash; it gives up by itself, and the fleet with it."""
    image = first_image(directory)
    floors = floor_samples(image, directory, 100, 0.02, network=False)
    floor = results.samples("C floor without network: first instruction", [a for a, _ in floors])
    for name, networks in NETWORKS.items():
        file = directory / f"crash-{name}.toml"
        text = FLEET.format(
            name=file.stem,
            image=image,
            alive=options.alive,
            networks=networks,
            count=options.count,
        )
        file.write_text(text)
        # Exit code 1, since what is essential has given up: that is how it ends.
        done = subprocess.run(
            command("supervise", "--quiet", str(file)), check=False, capture_output=True, text=True
        )
        if done.returncode != 1:
            raise RuntimeError(done.stderr)
        moments = [int(line) for line in said(file.stem, "one.1")]
        begun, ended = moments[0::2], moments[1::2]
        samples = [(after - before) / 1e9 for before, after in zip(ended, begun[1:], strict=False)]
        p50 = results.samples(
            f"crash to the next first instruction, networks = {networks}", samples
        )
        results.figure(f"the same, to the floor without network, {name}", p50 / floor, "ratio")
