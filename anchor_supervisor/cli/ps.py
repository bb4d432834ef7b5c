"""`anchor ps`: what every container is doing."""

from __future__ import annotations

import argparse
import sys

from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_name,
    print_json,
)
from anchor_supervisor.control.fleets import client_for, running_fleets
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from anchor_supervisor.control.shapes import ContainerRow

EXAMPLES = """\
examples:
  anchor ps                 the only fleet that runs, or that of ./fleet.toml
  anchor ps -p shop         the fleet of this name
  anchor ps -a              every fleet
  anchor ps --json | jq -r '.[] | select(.state != "running") | .name'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_fleet_options(parser)
    parser.add_argument("-a", "--all", action="store_true", help="the containers of every fleet")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """List containers."""
    names = running_fleets() if options.all else [fleet_name(options)]
    answers = [client_for(name).send("GET", "/v1/containers") for name in names]
    from anchor_supervisor.cli.row_words import list_rows  # while the supervisors work

    rows: list[ContainerRow] = [row for answer in answers for row in answer.result()]
    if options.json:
        print_json(rows)
    elif rows:
        print(list_rows(rows, with_fleet=options.all))
    elif options.all:
        print("no fleet is running", file=sys.stderr)
    return 0
