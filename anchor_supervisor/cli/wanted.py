"""The files that `plan` and `apply` are asked about, and the request they become."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchor_supervisor.cli.options import (
    add_file_option,
    add_profile_option,
    chosen_profiles,
    fleet_files,
)
from anchor_supervisor.control.client import NotRunning
from anchor_supervisor.control.fleets import DEFAULT_FILE, client_for, find_fleet
from anchor_supervisor.control.protocol import MAX_ENVIRONMENT
from anchor_supervisor.errors import ControlError

if TYPE_CHECKING:
    from anchor_supervisor.fleet.model import Fleet


def add_wanted_options(parser: argparse.ArgumentParser) -> None:
    """Add `-f FILE`, `-p NAME` and `--profile NAME`; the first and the last may come again."""
    group = parser.add_argument_group("which files (default: ./fleet.toml, or the running fleet's)")
    add_file_option(group)
    add_profile_option(group)
    group.add_argument(
        "-p",
        "--fleet",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="the fleet of this name, and its own files unless -f names others",
    )


def wanted_fleet(options: argparse.Namespace) -> Fleet:
    """Read the files that are meant, and check them. Raises FleetError with every problem."""
    from anchor_supervisor.fleet.parse import load_files

    files, profiles = _sources(options)
    fleet = load_files(files, os.environ, profiles)
    if options.fleet is not None and fleet.name != options.fleet:
        message = f"`{files[0]}` is of fleet `{fleet.name}`, not of `{options.fleet}`"
        raise ControlError(message, hint="leave `-p` out, or say which file with `-f`")
    return fleet


def _sources(options: argparse.Namespace) -> tuple[Sequence[Path], Sequence[str]]:
    """Say which files and profiles: those that are named, ./fleet.toml, or the running fleet's."""
    if options.file or (options.fleet is None and Path(DEFAULT_FILE).is_file()):
        return fleet_files(options), chosen_profiles(options.profile, os.environ)
    fleet = find_fleet(name=options.fleet)
    told = client_for(fleet).get("/v1/fleet")
    if not told["files"]:
        message = f"fleet `{fleet}` has no file"
        raise ControlError(message, hint="say which with `-f FILE`")
    profiles = chosen_profiles(options.profile, {}) or told["profiles"]
    return [Path(one) for one in told["files"]], profiles


def request_body(fleet: Fleet) -> dict[str, Any]:
    """Give the body of a plan or an apply: the supervisor reads the same with our environment."""
    import json

    body = {
        "files": list(fleet.files),
        "profiles": list(fleet.profiles),
        "environment": dict(os.environ),
    }
    if len(json.dumps(body)) > MAX_ENVIRONMENT:
        message = "the environment is too large for the supervisor"
        raise ControlError(message, hint="try `env -i PATH=$PATH anchor ...`")
    return body


def not_running(fleet: Fleet, error: NotRunning) -> NotRunning:
    """Say of a fleet that does not run how it is brought up with these files."""
    files = " ".join(f"-f {file}" for file in fleet.files)
    return NotRunning(error.message, hint=f"`anchor up {files}` brings it up")
