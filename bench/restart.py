"""How long a container is away that crashed: from its last instruction to the next one's first.

The policy is `always` with no delay, so all that is seen is what supervising costs: noticing the
death, storing what was said, deciding, starting. Prints JSON lines. Run as root::

    python bench/restart.py [--count 300] [--alive 20]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from measure import own_directories, report, report_machine
from programs import command, first_image, said

FLEET: Final = """
[fleet]
name = "crash"
[containers.one]
image = "{image}"
command = ["/first", "crash", "{alive}"]
networks = {networks}
restart = {{ when = "always", delay = "1ms", factor = 1.0, jitter = 0.0, max = {count} }}
essential = true
"""


def bench(directory: Path, count: int, alive: int, networks: str) -> None:
    """Let one container crash `count` times; it gives up by itself, and the fleet with it."""
    file = directory / "crash.toml"
    text = FLEET.format(image=first_image(directory), alive=alive, networks=networks, count=count)
    file.write_text(text)
    subprocess.run(command("supervise", "--quiet", str(file)), check=False, capture_output=True)
    moments = [int(line) for line in said("crash", "one.1")]
    begun, ended = moments[0::2], moments[1::2]
    samples = [(next_ - last) / 1e9 for last, next_ in zip(ended, begun[1:], strict=False)]
    report(f"crash to the next first instruction, no delay, networks = {networks}", samples)
    for log in (directory / "logs" / "crash").rglob("*.log"):
        log.unlink()


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="Time restarts after a crash.")
    parser.add_argument("--count", type=int, default=300, help="crashes")
    parser.add_argument("--alive", type=int, default=20, help="milliseconds between them")
    options = parser.parse_args()
    report_machine()
    with own_directories() as directory:
        for networks in ('["default"]', '"none"'):
            bench(directory, options.count, options.alive, networks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
