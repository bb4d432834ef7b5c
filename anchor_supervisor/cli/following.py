"""What `logs` and `events` share: what there is, and then what comes.

What is stored is read whether the fleet runs or not; only `-f` needs the supervisor, which knows
the moment that there is more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from anchor_supervisor.cli.problems import warn
from anchor_supervisor.cli.times import parse_count, parse_moment
from anchor_supervisor.control.client import NotRunning


def add_following_options(parser: argparse.ArgumentParser, things: str) -> None:
    """Add whose, from where on, and `-f`, which is `--follow` here; `things` are what is shown."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="containers, or replicas of them")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    parser.add_argument(
        "-n", "--tail", metavar="N", type=parse_count, help=f"begin N {things} from the end"
    )
    parser.add_argument(
        "--since", metavar="T", type=parse_moment, help="from this time on: 10m (ago), or RFC 3339"
    )


def following(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Say the same in the query of a request."""
    query = [("name", name) for name in options.names] + [("follow", "1")]
    query += [("tail", str(options.tail))] if options.tail is not None else []
    query += [("since", options.since)] if options.since else []
    return query


def show(
    options: argparse.Namespace, follow: Callable[[], None], stored: Callable[[], None]
) -> int:
    """Show what comes, if that is asked for and somebody can tell; otherwise what is `stored`."""
    if options.follow:
        try:
            follow()
        except NotRunning as error:
            warn(f"{error.message}, so there is nothing to follow")
        else:
            return 0
    stored()
    return 0
