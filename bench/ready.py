"""How soon a chain of containers is ready, of which each waits for the one before to be healthy.

Each is well some time after its start; what is beyond that time for each link is what the
supervisor costs, starting included. Once for each way of being seen as healthy. docker compose asks
every 500 ms, so a chain of ten takes it 5 s at least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleets import moment, transitions
from measure import Results, say
from options import Default, add_option, count
from programs import first_image, run

WAYS: Final = {
    "tcp": ("listen", 'tcp = 80, interval = "1s"'),
    "log": ("log", 'log = "^ready$$"'),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    length = count("--length", 100)
    add_option(parser, "--length", length, Default(10, 10), "containers in the chain")
    after = count("--after", 10_000)
    add_option(parser, "--after", after, Default(50, 50), "milliseconds until each is well")
    times = count("--times", 1000)
    add_option(parser, "--times", times, Default(20, 4), "how often the chain comes up")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Bring the chain up and down, `times` times, for each way."""
    image = first_image(directory)
    for way in WAYS:
        say(f"{options.times} chains of {options.length}, {way} probe")
        samples = []
        for turn in range(options.times):
            name = f"chain-{way}-{turn}"
            file = directory / f"{name}.toml"
            file.write_text("".join(chain(name, image, options.length, options.after, way)))
            try:
                run("supervise", "--detach", str(file))
                samples.append(time_chain(name))
            finally:
                run("main", "down", "-f", str(file))
        words = f"chain of {options.length}, each healthy after {options.after} ms, {way} probe"
        p50 = results.samples(words, samples, way=way, measured="chain")
        beyond = p50 / options.length - options.after
        results.figure(f"beyond it for each link, {way} probe", beyond, "ms", way=way)


def chain(name: str, image: Path, length: int, after: int, way: str) -> Iterator[str]:
    """Yield the lines of a fleet file: `c0`, and `c1` that needs it healthy, and so on."""
    verb, probe = WAYS[way]
    yield f'[fleet]\nname = "{name}"\n'
    for number in range(length):
        yield f"[containers.c{number}]\n"
        yield f'image = "{image}"\n'
        yield f'command = ["/first", "{verb}", "{after}", "80"]\n'
        yield f"health = {{ {probe} }}\n"
        if number:
            yield f'depends_on = {{ c{number - 1} = "healthy" }}\n'


def time_chain(fleet: str) -> float:
    """Return the seconds from the fleet's first transition until its last container is healthy."""
    found = transitions(fleet)
    healthy = [moment(one["time"]) for one in found if one.get("health") == "healthy"]
    return healthy[-1] - moment(found[0]["time"])
