"""`anchor inspect`."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    print_json,
)

EXAMPLES = """\
examples:
  anchor inspect web.1
  anchor inspect db | jq .limits
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a container, or one replica of it")
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print everything known; JSON, with or without `--json`."""
    print_json(fleet_client(options).get(f"/v1/containers/{quote(options.name, safe='')}"))
    return 0
