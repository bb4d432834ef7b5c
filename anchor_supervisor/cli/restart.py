"""`anchor restart`."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli.actions import configure_action, perform

EXAMPLES = """\
Stop containers and start them again, in the order of their dependencies.

examples:
  anchor restart web            every replica of web
  anchor restart web.2 db       the second replica of web, and db
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_action(parser)


def run(options: argparse.Namespace) -> int:
    """Do it, and come back when it is done."""
    return perform(options, "restart", {"wait": True})
