"""Which fleet is meant, and which are running. Standard library only."""

from __future__ import annotations

import os
import re

from anchor_supervisor.control.client import Client
from anchor_supervisor.errors import ControlError, FleetError, Problem
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.observability import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT_FILE = "fleet.toml"


class NoFleet(ControlError):  # noqa: N818 - it is what is the case
    """No fleet was named, none runs, and there is no ./fleet.toml."""


def find_fleet(*, files: Sequence[str] = (), name: str | None = None) -> str:
    """Say the name of the fleet that is meant: `-p NAME`, `-f FILE`, the only one, ./fleet.toml.

    It need not be running. Raises NoFleet, ControlError where several run, FleetError where the
    file cannot be read.
    """
    if name is not None:
        return places.checked_fleet_name(name)
    if files:
        return name_in_files(files)
    running = running_fleets()
    if len(running) == 1:
        return running[0]
    if os.path.isfile(DEFAULT_FILE):
        return name_in_files([DEFAULT_FILE])
    if running:
        message = f"several fleets are running: {', '.join(running)}"
        raise ControlError(message, hint="say which with `-p NAME`")
    message = "no fleet is running, and there is no `fleet.toml` here"
    raise NoFleet(message, hint="name a fleet with `-p NAME`, or its file with `-f FILE`")


def client_for(fleet: str) -> Client:
    """Give a client of this fleet, running or not."""
    return Client(fleet, places.run_path(fleet, places.SOCKET))


def running_fleets() -> list[str]:
    """Name the fleets whose supervisor can be reached, in order.

    One that we may not speak to does not count.
    """
    return sorted(_running())


def dead_fleets() -> list[str]:
    """Name the fleets whose supervisor died and left its run directory, in order."""
    locked = {name for name in _names() if os.path.exists(places.run_path(name, "lock"))}
    return sorted(locked - set(running_fleets()))


def _running() -> Iterator[str]:
    for name in _names():
        try:
            client_for(name).connect(1.0).close()
        except ControlError:
            continue
        yield name


def _names() -> list[str]:
    """Name whatever has a run directory."""
    try:
        return os.listdir(places.run_path())
    except OSError:
        return []


def name_in_files(files: Sequence[str]) -> str:
    """Read only the name of the fleet that these files are: the last `[fleet].name` of theirs.

    Where none says it, it is the first file's stem. Raises FleetError for a file that cannot be
    read.
    """
    names = [name for file in files if (name := _name_in(file)) is not None]
    stem, _ = os.path.splitext(os.path.basename(files[0]))
    return places.checked_fleet_name(names[-1] if names else stem)


def _name_in(file: str) -> str | None:
    try:
        with open(file, "rb") as opened:
            text = opened.read()
        if name := _name_at_the_top(text):
            return name
        import tomllib  # which takes a while, and most invocations need it not

        content = tomllib.loads(text.decode())
    except OSError as error:
        raise FleetError([Problem(error.strerror or "cannot be read", file)]) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise FleetError([Problem(str(error), file)]) from None
    table = content.get("fleet", {})
    name = table.get("name") if isinstance(table, dict) else None
    if name is not None and not isinstance(name, str):
        raise FleetError([Problem("must be a string", file, key="fleet.name")])
    return name


def _name_at_the_top(text: bytes) -> str | None:
    """Say the name where the file begins with it, as most do: `[fleet]`, then `name = "shop"`.

    Nothing that comes later can change what these two lines mean (toml.io/en/v1.0.0).
    """
    said = (words for line in text.split(b"\n") if (words := line.partition(b"#")[0].split()))
    if next(said, []) != [b"[fleet]"]:
        return None
    name = re.fullmatch(rb'name = "([a-z0-9-]+)"', b" ".join(next(said, [])))
    return name[1].decode() if name else None
