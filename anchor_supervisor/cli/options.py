"""The options that many verbs share, and the fleet they lead to. Standard library only."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from anchor_supervisor.cli.render import Paint
from anchor_supervisor.control.client import Client
from anchor_supervisor.control.fleets import client_for, find_fleet
from anchor_supervisor.observability.terminal import wants_color


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Lay help out as it is written. With a width argparse need not import shutil: 8 ms."""
    width = 80
    if sys.stdout.isatty():
        width = min(max(os.get_terminal_size(sys.stdout.fileno()).columns, 40), 100)
    return argparse.RawDescriptionHelpFormatter(prog, width=width - 2)


def add_fleet_options(parser: argparse.ArgumentParser, *, taken: str = "") -> None:
    """Add `-f FILE` and `-p NAME`; the letters in `taken` mean something else to this verb."""
    group = parser.add_argument_group("which fleet (default: the only one running, ./fleet.toml)")
    for letter, word, value in (("f", "file", "FILE"), ("p", "fleet", "NAME")):
        flags = [f"--{word}"] if letter in taken else [f"-{letter}", f"--{word}"]
        words = f"the fleet of this {value.lower()}"
        group.add_argument(*flags, metavar=value, default=argparse.SUPPRESS, help=words)


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

    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    # Half a character (RFC 8259, 8.2) has no encoding; Python's escape for it is JSON's as well.
    print(text.encode(errors="backslashreplace").decode())
