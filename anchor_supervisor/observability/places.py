"""Where things are on disk. Standard library only: the client imports this before anything else.

`ANCHOR_RUN_DIR` (default /run/anchor) holds what a reboot should forget, `ANCHOR_DATA_DIR`
(default /var/lib/anchor) what it should not. Nothing here touches the disk.
"""

from __future__ import annotations

import os

from anchor_supervisor.errors import ControlError
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.patterns import pattern

if TYPE_CHECKING:
    from pathlib import Path

RUN_DIR_VARIABLE = "ANCHOR_RUN_DIR"
DATA_DIR_VARIABLE = "ANCHOR_DATA_DIR"
DEFAULT_RUN_DIR = "/run/anchor"
DEFAULT_DATA_DIR = "/var/lib/anchor"

SOCKET = "control.sock"

_FLEET_NAME = pattern(r"[a-z0-9][a-z0-9-]{0,30}")


def run_dir() -> Path:
    """Give the directory of all running fleets of this invocation, absolute."""
    return _directory(RUN_DIR_VARIABLE, DEFAULT_RUN_DIR)


def data_dir() -> Path:
    """Give the directory of images, layers, volumes and logs, absolute."""
    return _directory(DATA_DIR_VARIABLE, DEFAULT_DATA_DIR)


def _directory(variable: str, default: str) -> Path:
    from pathlib import Path  # which is a twentieth of the time that `anchor ps` may take

    return Path(os.environ.get(variable) or default).absolute()


def checked_fleet_name(name: str) -> str:
    """Return `name` when it is a fleet's name, for it becomes a part of paths.

    Raises ControlError where it is not.
    """
    if _FLEET_NAME.fullmatch(name):
        return name
    message = f"`{name}` is not a fleet's name"
    raise ControlError(
        message, hint="lower-case letters, digits and `-`, at most 31, not beginning with `-`"
    )


def fleet_run_dir(fleet: str) -> Path:
    """Give `<run>/<fleet>`: control.sock, lock, state."""
    return run_dir() / fleet


def control_socket(fleet: str) -> Path:
    """Give the fleet's control socket."""
    return fleet_run_dir(fleet) / SOCKET


def run_path(*beneath: str) -> str:
    """Give what is beneath `run_dir` as mere text, for a client, which can do without `Path`."""
    return "/".join([os.environ.get(RUN_DIR_VARIABLE) or DEFAULT_RUN_DIR, *beneath])


def fleet_log_dir(fleet: str) -> Path:
    """Give `<data>/logs/<fleet>`: a directory for each instance, and the journal."""
    return data_dir() / "logs" / fleet


def log_dir(fleet: str, instance: object) -> Path:
    """Give the log directory of one instance, whose `str()` is `<container>.<replica>`."""
    return fleet_log_dir(fleet) / str(instance)


def fleet_id(fleet: str) -> str:
    """Give seven hex digits that keep equal fleet names in other run directories apart."""
    from anchor_supervisor.digests import sha256  # the client does not need it

    return sha256(f"{run_dir()}\0{fleet}".encode()).hexdigest()[:7]
