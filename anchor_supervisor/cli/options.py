"""The options that many verbs share, and the fleet they lead to. Standard library only."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from anchor_supervisor.control.client import Client
from anchor_supervisor.control.fleets import DEFAULT_FILE, client_for, find_fleet
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Final

    from anchor_supervisor.cli.render import Paint
    from anchor_supervisor.fleet.model import Fleet

PROFILES: Final = "ANCHOR_PROFILES"
"""The variable with the profiles to choose where the command line chooses none: `a,b`."""


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Lay help out as it is written. With a width argparse need not import shutil: 8 ms."""
    width = 80
    if sys.stdout.isatty():
        width = min(max(os.get_terminal_size(sys.stdout.fileno()).columns, 40), 100)
    return argparse.RawDescriptionHelpFormatter(prog, width=width - 2)


def add_fleet_options(parser: argparse.ArgumentParser, *, taken: str = "") -> None:
    """Add `-f FILE` and `-p NAME`; the letters in `taken` mean something else to this verb."""
    group = parser.add_argument_group("which fleet (default: the only one running, ./fleet.toml)")
    add_file_option(group, taken=taken)
    flags = ["--fleet"] if "p" in taken else ["-p", "--fleet"]
    words = "the fleet of this name"
    group.add_argument(*flags, metavar="NAME", default=argparse.SUPPRESS, help=words)


def add_file_option(parser: argparse._ActionsContainer, *, taken: str = "") -> None:
    """Add `-f FILE`, which may be given several times: one fleet of several files."""
    parser.add_argument(
        *(["--file"] if "f" in taken else ["-f", "--file"]),
        metavar="FILE",
        action="append",
        default=argparse.SUPPRESS,
        help="the fleet of this file; of several, a later one overrides",
    )


def add_profile_option(parser: argparse._ActionsContainer) -> None:
    """Add `--profile NAME`, which may be given several times."""
    parser.add_argument(
        "--profile",
        metavar="NAME",
        action="append",
        default=[],
        help=f"containers of this profile too; `*`: of all; default: ${PROFILES}",
    )


def chosen_profiles(given: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Say which profiles are chosen: those of the command line, else the environment's."""
    if given:
        return tuple(dict.fromkeys(given))
    names = (name.strip() for name in environment.get(PROFILES, "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def fleet_files(options: argparse.Namespace) -> tuple[Path, ...]:
    """Name the files of `-f`; `fleet.toml` where there are none."""
    from pathlib import Path  # for who reads them

    return tuple(map(Path, options.file or (DEFAULT_FILE,)))


def load_fleet(options: argparse.Namespace) -> Fleet:
    """Read the fleet of `-f` and `--profile` with our own environment. Raises FleetError."""
    from anchor_supervisor.fleet.parse import load_files  # here, because most verbs need it not

    profiles = chosen_profiles(options.profile, os.environ)
    return load_files(fleet_files(options), os.environ, profiles)


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
    return find_fleet(files=options.file or (), name=options.fleet)


def fleet_client(options: argparse.Namespace) -> Client:
    """Give a client of the fleet that is meant."""
    return client_for(fleet_name(options))


def paint_for_output() -> Paint:
    """Colour standard output if it likes colour."""
    from anchor_supervisor.cli.render import Paint  # here, so that a request need not wait for it
    from anchor_supervisor.observability.terminal import wants_color

    return Paint(color=wants_color(sys.stdout))


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print one JSON document."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    # Half a character (RFC 8259, 8.2) has no encoding; Python's escape for it is JSON's as well.
    print(text.encode(errors="backslashreplace").decode())
