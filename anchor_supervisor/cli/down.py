"""`anchor down`: stop the whole fleet in order, and see that nothing is left of it."""

from __future__ import annotations

import argparse
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_name,
    print_json,
)
from anchor_supervisor.control.client import Interrupted, NotRunning
from anchor_supervisor.control.fleets import NoFleet, client_for, dead_fleets
from anchor_supervisor.errors import ControlError
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from anchor_supervisor.control.client import Client

_PATIENCE = 30.0

EXAMPLES = """\
Dependents stop first, each with its stop signal and grace. Named volumes stay.

examples:
  anchor down                  the only fleet that runs, or that of ./fleet.toml
  anchor down -p shop
  anchor down --volumes        and remove the fleet's named volumes
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--volumes", action="store_true", help="remove the named volumes too")
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """End the fleet; what a dead supervisor left behind is swept."""
    try:
        fleet = fleet_name(options)
    except NoFleet as nothing:
        return _sweep_dead(options, nothing.message)
    try:
        removed, words = _stop(client_for(fleet), volumes=options.volumes), "is down"
    except NotRunning:
        removed, words = _sweep(fleet, volumes=options.volumes), "was not running"
    return _report(options, fleet, removed, f"fleet `{fleet}` {words}")


def _stop(client: Client, *, volumes: bool) -> list[str]:
    """Ask for the end and wait for it: the answer first, then the supervisor's own exit."""
    pending = client.send("POST", "/v1/down", {"volumes": volumes}, timeout=None)
    with _exit_watch(pending.peer_pid()) as ended:
        removed: list[str] = []
        interrupted: Interrupted | None = None
        try:
            removed = list(pending.result()["removed"])
        except Interrupted as error:
            interrupted = error  # ended before the answer was out, or without finishing?
        if ended is not None and not select.select([ended], [], [], _PATIENCE)[0]:
            message = f"the supervisor of `{client.fleet}` has stopped its containers and lives on"
            raise ControlError(message, hint="its own output says why")
    if interrupted is not None:
        removed += _sweep(client.fleet, volumes=volumes)
    return removed


@contextmanager
def _exit_watch(pid: int) -> Iterator[int | None]:
    """Give a descriptor that is readable once the process has ended (pidfd_open(2))."""
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _sweep_dead(options: argparse.Namespace, otherwise: str) -> int:
    """End what every dead supervisor left; `otherwise` is what to say where there is nothing."""
    dead = dead_fleets()
    if not dead:
        return _report(options, None, [], otherwise)
    removed = [line for fleet in dead for line in _sweep(fleet, volumes=options.volumes)]
    names = ", ".join(f"`{fleet}`" for fleet in dead)
    words = f"fleet {names} was not running" if len(dead) == 1 else f"{names} were not running"
    return _report(options, dead[0] if len(dead) == 1 else None, removed, words)


def _sweep(fleet: str, *, volumes: bool) -> list[str]:
    """Remove what is left; a supervisor that is still preparing its start is told to stop first."""
    import signal

    from anchor_supervisor.runtime.lock import AlreadyRunning
    from anchor_supervisor.runtime.sweep import sweep_fleet

    try:
        return sweep_fleet(fleet, volumes=volumes)
    except AlreadyRunning as starting:
        if starting.pid is None:
            raise
        with _exit_watch(starting.pid) as ended:
            os.kill(starting.pid, signal.SIGTERM)
            if ended is not None:
                select.select([ended], [], [], _PATIENCE)
    return sweep_fleet(fleet, volumes=volumes)


def _report(options: argparse.Namespace, fleet: str | None, removed: list[str], words: str) -> int:
    if options.json:
        print_json({"fleet": fleet, "removed": removed})
        return 0
    for line in removed:
        print(f"removed {line}")
    print(words)
    return 0
