"""Bring configs/demo.toml up, look at it, stop it in order, and prove that nothing is left.

Works in a run and a data directory of its own. Exit code 0 only if everything was as it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from leaks import Snapshot, assert_nothing_left
from waiting import eventually

FLEET: Final = Path(__file__).with_name("demo.toml")
PROGRAMS: Final = Path(sys.executable).parent
RESTARTS: Final = 2


def main() -> int:
    """Tell the story, one command after the other."""
    if os.geteuid() != 0:
        print("containers can only be started by root: sudo make run", file=sys.stderr)
        return 3
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="anchor-demo-"))
    os.environ["ANCHOR_RUN_DIR"] = str(place / "run")
    os.environ["ANCHOR_DATA_DIR"] = str(place / "data")
    before = Snapshot.take(place / "run", place / "data")
    try:
        show("anchor-supervise", "--detach", FLEET)
        show("anchor", "ps")
        fetch(published_address())
        eventually(
            lambda: row("worker.1")["restarts"],
            lambda restarts: restarts >= RESTARTS,
            what=f"the worker has been restarted {RESTARTS} times",
        )
        show("anchor", "ps")
        show("anchor", "why", "worker")
    finally:
        show("anchor", "down", "--volumes", "-f", FLEET)
    tell_order(place / "data/logs/demo/events.jsonl")
    assert_nothing_left(before, place / "run", place / "data")
    shutil.rmtree(place)
    print("\nnothing is left: no process, cgroup, namespace, mount, link, firewall table or file")
    print(f"all of this took {time.monotonic() - began:.1f} s")
    return 0


def show(program: str, *words: str | Path) -> None:
    """Run one of our programs for everyone to see; it must succeed."""
    print(f"\n$ {program} {' '.join(map(shorten, words))}", flush=True)
    subprocess.run([PROGRAMS / program, *words], stderr=subprocess.STDOUT, check=True)


def shorten(word: str | Path) -> str:
    """Paths as one would type them here."""
    return os.path.relpath(word) if isinstance(word, Path) else word


def rows() -> list[dict[str, Any]]:
    """What `anchor ps --json` says."""
    command = [str(PROGRAMS / "anchor"), "ps", "--json"]
    found: list[dict[str, Any]] = json.loads(subprocess.check_output(command))
    return found


def row(name: str) -> dict[str, Any]:
    """What it says of one container."""
    return next(row for row in rows() if row["name"] == name)


def published_address() -> str:
    """Where the web server is published on this machine."""
    port = row("web.1")["ports"][0]
    return f"http://{port['host_address']}:{port['host_port']}/"


def fetch(address: str) -> None:
    """Get the page that the job wrote, through the published port."""
    print(f"\n$ curl {address}", flush=True)
    with urllib.request.urlopen(address, timeout=5) as answer:
        page = answer.read().decode()
    print(page, end="")
    if "It runs." not in page:
        sys.exit(f"that is not the page that the job wrote: {page!r}")


def tell_order(journal: Path) -> None:
    """Say in which order containers were stopped; dependents must come first."""
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    stopped = [event["container"] for event in events if event["state"] == "stopped"]
    print(f"\nstopped in this order: {', '.join(stopped)}")
    if "worker.1" in stopped and stopped.index("worker.1") > stopped.index("web.1"):
        sys.exit("the web server was stopped before the worker that depends on it")


if __name__ == "__main__":
    sys.exit(main())
