"""How soon a chain of containers is ready, of which each waits for the one before to be healthy.

Ten containers, each well 50 ms after its start: what is beyond 10 x 50 ms is what the supervisor
costs, starting them included. Once for each way of being seen as healthy. docker compose asks
every 500 ms, so a chain of ten takes it 5 s at least. Prints JSON lines. Run as root::

    python bench/ready.py [--length 10] [--times 20] [--after 50]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import read_entries
from measure import own_directories, report, report_machine
from programs import first_image, run

WAYS: Final = {
    "tcp": ("listen", 'tcp = 80, interval = "1s"'),
    "log": ("log", 'log = "^ready$"'),
}


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
    entries = list(read_entries(places.fleet_log_dir(fleet)))
    moments = [datetime.fromisoformat(str(one["time"])[:26]) for one in entries]
    healthy = [
        moment
        for moment, one in zip(moments, entries, strict=True)
        if one.get("health") == "healthy"
    ]
    return (healthy[-1] - moments[0]).total_seconds()


def bench(directory: Path, length: int, after: int, way: str, times: int) -> None:
    """Bring the chain up and down, `times` times."""
    image = first_image(directory)
    name = f"chain-{way}"
    file = directory / f"{name}.toml"
    file.write_text("\n".join(chain(image, length, after, way)) + "\n")
    samples = []
    for _ in range(times):
        run("supervise", "--detach", str(file))
        samples.append(time_chain(name))
        run("main", "down", "-f", str(file))
        for log in places.fleet_log_dir(name).glob("events*.jsonl"):
            log.unlink()
    p50 = report(f"chain of {length}, each healthy after {after} ms ({way} probe)", samples)
    beyond = p50 / length - after
    report(f"beyond it, for each link ({way} probe)", [beyond / 1000])


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="Time a chain of dependencies.")
    parser.add_argument("--length", type=int, default=10, help="containers in the chain")
    parser.add_argument("--after", type=int, default=50, help="milliseconds until each is well")
    parser.add_argument("--times", type=int, default=20, help="how often the chain comes up")
    options = parser.parse_args()
    report_machine()
    with own_directories() as directory:
        for way in WAYS:
            bench(directory, options.length, options.after, way, options.times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
