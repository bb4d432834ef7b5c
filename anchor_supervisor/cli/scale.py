"""`anchor scale`: more or fewer replicas, at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from anchor_supervisor.cli.change import add_patience_option, follow
from anchor_supervisor.cli.options import add_fleet_options, add_json_option, fleet_name
from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.errors import AnchorError
from anchor_supervisor.hints import final

EXAMPLES = """\
The replicas that stay keep their processes, and their names and addresses. It lasts until the next
`anchor apply`, which goes by the file again, or until the fleet is down.

examples:
  anchor scale web=5
  anchor scale web=5 worker=2
"""

_WISH = re.compile(r"(?P<name>[a-z0-9][a-z0-9_.-]*)=(?P<count>[0-9]{1,9})", re.ASCII)


@final
class NamedTwiceError(AnchorError):
    """One container is to have two numbers of replicas."""

    exit_code = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "wishes", metavar="NAME=N", nargs="+", type=_wish, help="so many replicas of a container"
    )
    add_patience_option(parser)
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it and follow it to its end."""
    client = client_for(fleet_name(options))
    body = _once_each(options.wishes)
    lines = client.tell("/v1/scale", body, patience=options.wait_timeout)
    return follow(client.fleet, lines, as_json=options.json)


def _once_each(wishes: Sequence[tuple[str, int]]) -> dict[str, int]:
    """How many of each. Raises NamedTwiceError."""
    body: dict[str, int] = {}
    for name, replicas in wishes:
        if name in body:
            message = f"`{name}` is named twice"
            raise NamedTwiceError(message)
        body[name] = replicas
    return body


def _wish(text: str) -> tuple[str, int]:
    """Say how many of which."""
    match = _WISH.fullmatch(text)
    if match is None:
        message = f"`{text}` is not NAME=N, such as web=5"
        raise argparse.ArgumentTypeError(message)
    from anchor_supervisor.fleet.container import MOST_REPLICAS

    if not 1 <= int(match["count"]) <= MOST_REPLICAS:
        message = f"`{text}`: replicas are 1 to {MOST_REPLICAS}; `anchor stop` stops them all"
        raise argparse.ArgumentTypeError(message)
    return match["name"], int(match["count"])
