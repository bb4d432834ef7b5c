"""`anchor start`."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.actions import configure_action, perform

EXAMPLES = """\
Start containers; their restart counters begin afresh.

examples:
  anchor start web            every replica of web
  anchor start web.2 db       the second replica of web, and db
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_action(parser)


def run(options: argparse.Namespace) -> int:
    """Do it, and come back when it is done."""
    return perform(options, "start", {"wait": True})
