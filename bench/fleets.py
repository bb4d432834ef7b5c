"""Whole fleets, brought up and down by the commands that a person types."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, final

from attrs import frozen

from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.errors import HostError
from anchor_supervisor.observability import places
from anchor_supervisor.observability.journal import read_entries
from programs import first_image, run, said

FLEET: Final = """
[fleet]
name = "{name}"
[containers.one]
image = "{image}"
command = ["/first", "wait"]
networks = {networks}
replicas = {count}
"""

SERVICE: Final = """
[containers.s{number}]
image = "{image}"
command = ["/first", "wait"]
"""

PATIENCE: Final = 30.0
"""Seconds for what the last container said to be in its log."""


@final
@frozen
class Up:
    """A fleet that came up.

    In seconds: the whole command, and from its first start until the first instruction of its last.
    """

    name: str
    file: Path
    command: float
    burst: float


def fleet_file(directory: Path, name: str, count: int, *, network: bool = True) -> Path:
    """Write the file of a fleet of replicas that wait for ever."""
    file = directory / f"{name}.toml"
    networks = '["default"]' if network else '"none"'
    image = first_image(directory)
    file.write_text(FLEET.format(name=name, image=image, networks=networks, count=count))
    return file


def stack_file(directory: Path, name: str, count: int) -> Path:
    """Write the file of a fleet of so many services, each of its own, that wait for ever."""
    file = directory / f"{name}.toml"
    image = first_image(directory)
    services = (SERVICE.format(image=image, number=number) for number in range(count))
    file.write_text(f'[fleet]\nname = "{name}"\n{"".join(services)}')
    return file


@contextmanager
def running(file: Path) -> Iterator[Up]:
    """Bring the fleet of a file up, and down again at the end, also where it did not come up."""
    name = file.stem
    try:
        seconds = run("supervise", "--detach", "--wait-timeout", "300s", str(file))
        yield Up(name, file, seconds, _burst(name))
    finally:
        down(file)
        shutil.rmtree(places.fleet_log_dir(name), ignore_errors=True)  # or it would be read again


def down(file: Path) -> float:
    """Bring it down; return the seconds. What is down already takes no time to speak of."""
    if not places.control_socket(file.stem).exists():
        return 0.0
    return run("main", "down", "-f", str(file))


def supervisor_pid(name: str) -> int:
    """The process that runs this fleet."""
    info: dict[str, Any] = client_for(name).get("/v1/fleet")
    return int(info["pid"])


def instance_names(name: str) -> list[str]:
    """Every instance of the fleet that has started by now."""
    return sorted({one["container"] for one in transitions(name) if one["state"] == "running"})


def transitions(name: str) -> list[dict[str, Any]]:
    """Return the changes of state that the fleet's journal has, oldest first."""
    entries = read_entries(places.fleet_log_dir(name))
    return [dict(one) for one in entries if one["event"] == "transition"]


def moment(text: object) -> float:
    """Seconds since the epoch of a time in a journal, which is UTC, to the microsecond."""
    return datetime.fromisoformat(str(text)[:26]).replace(tzinfo=UTC).timestamp()


def _burst(name: str) -> float:
    """Seconds from the first container that starts until the last one's first instruction."""
    begun = min(moment(one["time"]) for one in transitions(name) if one["state"] == "starting")
    wall_clock = time.time_ns() - time.monotonic_ns()
    last = max(_first_instruction(name, instance) for instance in instance_names(name))
    return (last + wall_clock) / 1e9 - begun


def _first_instruction(name: str, instance: str) -> int:
    """What the instance's program read from CLOCK_MONOTONIC; it has run, so it is told soon."""
    deadline = time.monotonic() + PATIENCE
    while not (lines := said(name, instance)):
        if time.monotonic() > deadline:
            message = f"`{instance}` has not said when it came to be"
            raise HostError(message, hint=f"it was looked for {PATIENCE:g} s in its log")
        time.sleep(0.01)
    return int(lines[0])
