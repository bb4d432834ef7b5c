"""What start, stop, restart and kill have in common: several names at once, each waited for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from anchor_supervisor.cli import render
from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    paint_for_output,
    print_json,
)
from anchor_supervisor.cli.problems import show
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.errors import AnchorError
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from anchor_supervisor.control.shapes import ContainerRow


def configure_action(parser: argparse.ArgumentParser) -> None:
    """Declare the names and the options of every action."""
    parser.add_argument(
        "names", metavar="NAME", nargs="+", help="`web`: all its replicas; `web.2`: the second"
    )
    add_fleet_options(parser)
    add_json_option(parser)


def perform(options: argparse.Namespace, verb: str, body: Mapping[str, object]) -> int:
    """Ask for all at once, then wait for each; one that fails does not stop the others."""
    client = fleet_client(options)
    pending = [
        client.send("POST", container_page(name, verb), body, timeout=None)
        for name in dict.fromkeys(options.names)
    ]
    code = 0
    rows: list[ContainerRow] = []
    for answer in pending:
        try:
            rows += answer.result()
        except AnchorError as error:
            code = show(error)
    if options.json:
        print_json(rows)
    else:
        _print_rows(rows)
    if verb in {"start", "restart"} and any(row["state"] == "failed" for row in rows):
        code = code or 1
    return code


def _print_rows(rows: Sequence[ContainerRow]) -> None:
    paint = paint_for_output()
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        health = "" if row["health"] == "none" else f", {paint.state(row['health'])}"
        reason = render.one_line(row["reason"])
        line = f"{row['name']:<{width}}  {paint.state(row['state'])}{health}"
        print(line + (f"  {reason}" if reason else ""))
