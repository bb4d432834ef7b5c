"""The options that many verbs share, and the fleet they lead to. Standard library only."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from anchor_supervisor.cli.render import Paint
from anchor_supervisor.control.client import Client
from anchor_supervisor.control.fleets import client_for, find_fleet
from anchor_supervisor.observability.terminal import wants_color


def add_fleet_options(parser: argparse.ArgumentParser, *, short: bool = True) -> None:
    """Add `-f FILE` and `-p NAME`; without `short`, `-f` and `-p` mean something else here."""
    group = parser.add_argument_group(
        "which fleet (neither: the only one running, or ./fleet.toml)"
    )
    flags = (("-f", "--file"), ("-p", "--fleet")) if short else (("--file",), ("--fleet",))
    group.add_argument(
        *flags[0], metavar="FILE", default=argparse.SUPPRESS, help="the fleet of this file"
    )
    group.add_argument(
        *flags[1], metavar="NAME", default=argparse.SUPPRESS, help="the fleet of this name"
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="one JSON document on standard output",
    )


def fleet_name(options: argparse.Namespace) -> str:
    """Say which fleet is meant."""
    return find_fleet(file=options.file, name=options.fleet)


def fleet_client(options: argparse.Namespace) -> Client:
    """Give a client of the fleet that is meant."""
    return client_for(fleet_name(options))


def paint_for_output() -> Paint:
    """Colour standard output if it likes colour."""
    return Paint(color=wants_color(sys.stdout))


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print one JSON document."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
