"""How soon a chain of containers is ready, of which each waits for the one before to be healthy.

Each is well some time after its start; what is beyond that time for each link is what the
supervisor costs, starting included. Once for each way of being seen as healthy. docker compose asks
every 500 ms, so a chain of ten takes it 5 s at least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import read_entries
from measure import Results
from programs import first_image, run

WAYS: Final = {
    "tcp": ("listen", 'tcp = 80, interval = "1s"'),
    "log": ("log", 'log = "^ready$$"'),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--length", type=int, default=10, help="containers in the chain")
    parser.add_argument("--after", type=int, default=50, help="milliseconds until each is well")
    parser.add_argument("--times", type=int, default=20, help="how often the chain comes up")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring the chain up and down, `times` times, for each way."""
    image = first_image(directory)
    for way in WAYS:
        name = f"chain-{way}"
        file = directory / f"{name}.toml"
        lines = chain(image, options.length, options.after, way)
        file.write_text("\n".join(lines) + "\n")
        samples = []
        for _ in range(options.times):
            run("supervise", "--detach", str(file))
            samples.append(time_chain(name))
            run("main", "down", "-f", str(file))
            for journal in places.fleet_log_dir(name).glob("events*.jsonl"):
                journal.unlink()
        words = f"chain of {options.length}, each healthy after {options.after} ms, {way} probe"
        p50 = results.samples(words, samples, way=way)
        results.figure(
            f"beyond it for each link, {way} probe", p50 / options.length - options.after, "ms"
        )


def chain(image: Path, length: int, after: int, way: str) -> Iterator[str]:
    """Yield the lines of a fleet file: `c0`, and `c1` that needs it healthy, and so on."""
    verb, probe = WAYS[way]
    yield f'[fleet]\nname = "chain-{way}"'
    for number in range(length):
        yield f"[containers.c{number}]"
        yield f'image = "{image}"'
        yield f'command = ["/first", "{verb}", "{after}", "80"]'
        yield f"health = {{ {probe} }}"
        if number:
            yield f'depends_on = {{ c{number - 1} = "healthy" }}'


def time_chain(fleet: str) -> float:
    """Return the seconds from the fleet's first transition until its last container is healthy."""
    entries = [one for one in read_entries(places.fleet_log_dir(fleet)) if "state" in one]
    moments = [datetime.fromisoformat(str(one["time"])[:26]) for one in entries]
    healthy = [
        moment
        for moment, one in zip(moments, entries, strict=True)
        if one.get("health") == "healthy"
    ]
    return (healthy[-1] - moments[0]).total_seconds()
