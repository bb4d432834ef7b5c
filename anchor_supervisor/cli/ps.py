"""`anchor ps`: what every container is doing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from anchor_supervisor.cli import render
from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    paint_for_output,
    print_json,
)
from anchor_supervisor.control.client import Client
from anchor_supervisor.control.fleets import client_for, running_fleets
from anchor_supervisor.observability.terminal import display_names

if TYPE_CHECKING:
    from anchor_supervisor.control.shapes import ContainerRow, LimitsRow

EXAMPLES = """\
examples:
  anchor ps                 the only fleet that runs, or that of ./fleet.toml
  anchor ps -p shop         the fleet of this name
  anchor ps -a              every fleet
  anchor ps --json | jq -r '.[] | select(.state != "running") | .name'
"""

_HEADERS = (
    "NAME",
    "STATE",
    "HEALTH",
    "SINCE",
    "RESTARTS",
    "NEXT",
    "PID",
    "ADDRESS",
    "PORTS",
    "LIMITS",
    "REASON",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_fleet_options(parser)
    parser.add_argument("-a", "--all", action="store_true", help="the containers of every fleet")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """List containers."""
    if options.all:
        rows = [row for name in running_fleets() for row in _rows(client_for(name))]
    else:
        rows = _rows(fleet_client(options))
    if options.json:
        print_json(rows)
    elif rows:
        print(list_rows(rows, with_fleet=options.all))
    elif options.all:
        print("no fleet is running", file=sys.stderr)
    return 0


def _rows(client: Client) -> list[ContainerRow]:
    rows: list[ContainerRow] = client.get("/v1/containers")
    return rows


def list_rows(rows: Sequence[ContainerRow], *, with_fleet: bool) -> str:
    """Lay rows out as a table; its last column is cut where a terminal ends."""
    present = render.now()
    width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    headers: tuple[str, ...] = ("FLEET", *_HEADERS) if with_fleet else _HEADERS
    shown = display_names((row["container"], row["replica"]) for row in rows)
    cells = [_cells(row, shown[row["name"]], present) for row in rows]
    if not any(limit_words(row.get("limits")) for row in rows):
        column = _HEADERS.index("LIMITS")
        headers = headers[: column - len(_HEADERS)] + headers[column + 1 - len(_HEADERS) :]
        for line in cells:
            del line[column]
    if with_fleet:
        cells = [[row["fleet"], *rest] for row, rest in zip(rows, cells, strict=True)]
    return render.table(headers, cells, paint_for_output(), width)


def _cells(row: ContainerRow, name: str, present: datetime) -> list[render.Cell]:
    health = "-" if row["health"] == "none" else row["health"]
    news = "" if row["state"] == "running" else next_words(row, present)  # a probe is no news
    return [
        name,
        _coloured(row["state"]),
        _coloured(health),
        render.ago(row["since"], present),
        str(row["restarts"]),
        news or "-",
        str(row["pid"] or "-"),
        row["address"] or "-",
        ", ".join(port_words(row)) or "-",
        limit_words(row.get("limits")) or "-",
        render.one_line(row["reason"]),
    ]


def _coloured(word: str) -> render.Cell:
    return (word, render.STATE_COLOURS.get(word, ""))


def next_words(row: ContainerRow, present: datetime) -> str:
    """Say what happens next and when: `starts again in 3.2s`."""
    if row["next"] is None:
        return ""
    when = render.until(row["next_at"], present) if row["next_at"] else ""
    return f"{render.one_line(row['next'])} {when}".rstrip()


def port_words(row: ContainerRow) -> list[str]:
    """Say what is published: `127.0.0.1:8080->80`; only udp is named."""
    return [
        f"{port['host_address']}:{port['host_port']}->{port['container_port']}"
        + ("" if port["protocol"] == "tcp" else f"/{port['protocol']}")
        for port in row["ports"]
    ]


def limit_words(limits: LimitsRow | None) -> str:
    """Say the limits in force: `64M 0.5cpu 4096pids`."""
    if limits is None:
        return ""
    words = [
        render.size(limits["memory"]) if limits["memory"] is not None else "",
        f"{limits['cpus']:g}cpu" if limits["cpus"] is not None else "",
        f"{limits['pids']}pids" if limits["pids"] is not None else "",
    ]
    return " ".join(word for word in words if word)
