"""Whole fleets, brought up and down by the commands that a person types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import read_entries
from programs import first_image, run

FLEET: Final = """
[fleet]
name = "{name}"
[containers.one]
image = "{image}"
command = ["/first", "wait"]
networks = {networks}
replicas = {count}
"""


@frozen
class Up:
    """A fleet that came up: seconds of the whole command, and from its first start to its last."""

    name: str
    file: Path
    command: float
    burst: float


def fleet_file(directory: Path, name: str, count: int, *, network: bool = True) -> Path:
    """Write the file of a fleet whose containers wait for ever."""
    file = directory / f"{name}.toml"
    networks = '["default"]' if network else '"none"'
    image = first_image(directory)
    file.write_text(FLEET.format(name=name, image=image, networks=networks, count=count))
    return file


@contextmanager
def running(file: Path) -> Iterator[Up]:
    """Bring the fleet of a file up, and down again at the end."""
    name = file.stem
    seconds = run("supervise", "--detach", "--wait-timeout", "300s", str(file))
    try:
        yield Up(name, file, seconds, _burst(name))
    finally:
        down(file)
        for journal in places.fleet_log_dir(name).glob("events*.jsonl"):
            journal.unlink()


def down(file: Path) -> float:
    """Bring it down; return the seconds. What is down already takes no time to speak of."""
    if not places.control_socket(file.stem).exists():
        return 0.0
    return run("main", "down", "-f", str(file))


def supervisor_pid(name: str) -> int:
    """The process that runs this fleet."""
    info: dict[str, Any] = client_for(name).get("/v1/fleet")
    return int(info["pid"])


def _burst(name: str) -> float:
    """Seconds from the first container that starts until the last one runs."""
    entries = [one for one in read_entries(places.fleet_log_dir(name)) if "state" in one]
    starting = [_moment(one["time"]) for one in entries if one["state"] == "starting"]
    up = [_moment(one["time"]) for one in entries if one["state"] == "running"]
    return (max(up) - min(starting)).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:26])
