"""`anchor diff`: what a container has changed of its image."""

from __future__ import annotations

import argparse
import binascii
from typing import Final

from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    paint_for_output,
    print_json,
)
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.images.changes import ADDED, CHANGED, DELETED, Change
from anchor_supervisor.kernel.process import raise_open_files
from anchor_supervisor.runtime.container_changes import container_changes

COLOURS: Final = {ADDED: "32", CHANGED: "33", DELETED: "31"}

EXAMPLES: Final = """\
A is new, C has changed (or something in it has), D is gone. Volumes are not looked into.

examples:
  anchor diff web
  anchor diff web.2 --json | jq -r '.[] | select(.kind == "A").path'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="`web`, or `web.2` for the second replica")
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print a line for each change."""
    client = fleet_client(options)
    context = client.get(container_page(options.name, "root"))
    raise_open_files()  # a tree takes three descriptors a level
    found = container_changes(context)
    if options.json:
        print_json([_shown(change) for change in found])
        return 0
    paint = paint_for_output()
    for change in found:
        print(paint(change.kind, COLOURS[change.kind]), _legible(change.path))
    return 0


def _legible(path: bytes) -> str:
    """A name on one line, that cannot steer a terminal."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _shown(change: Change) -> dict[str, str]:
    """JSON holds text alone; `base64` is there where the path is none."""
    try:
        return {"kind": change.kind, "path": change.path.decode()}
    except UnicodeDecodeError:
        exact = binascii.b2a_base64(change.path, newline=False).decode()
        return {"kind": change.kind, "path": _legible(change.path), "base64": exact}
