"""`anchor apply`: make the fleet that runs what its files say now, and tell how it goes."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.change import add_patience_option, follow
from anchor_supervisor.cli.options import add_json_option
from anchor_supervisor.cli.wanted import (
    add_wanted_options,
    not_running,
    request_body,
    wanted_fleet,
)
from anchor_supervisor.control.client import NotRunning
from anchor_supervisor.control.fleets import client_for

EXAMPLES = """\
A file that is wrong changes nothing (exit code 2). What does not differ keeps its process; what
needs a new one gets it a few replicas at a time, as `update` says. Exit code 1: an update was
paused or rolled back, or something did not come up. Ctrl-C leaves the change going on.

examples:
  anchor plan && anchor apply        ./fleet.toml, to the fleet of that name
  anchor apply -f shop.toml -f more.toml --profile debug
  anchor apply --build               with every image that has a `build` built anew
  anchor apply -p shop               the files it was last made of, as they are now
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_wanted_options(parser)
    parser.add_argument(
        "--build", action="store_true", help="build every image that has a `build` anew"
    )
    add_patience_option(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Provide the images, ask for the change, and follow it to its end."""
    fleet = wanted_fleet(options)
    client = client_for(fleet.name)
    try:
        client.connect().close()  # before images are pulled for nothing
    except NotRunning as error:
        raise not_running(fleet, error) from None
    from anchor_supervisor.cli.provide import provided

    with provided(fleet, build=options.build, quiet=options.json):
        lines = client.tell("/v1/apply", request_body(fleet), patience=options.wait_timeout)
        return follow(fleet.name, lines, as_json=options.json)
