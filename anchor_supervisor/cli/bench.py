"""`anchor bench`: measure on this machine.

The benchmarks are a folder of their own beside the package, in the source tree: they need a C
compiler, and no container does. This only finds them, and becomes them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import anchor_supervisor
from anchor_supervisor.errors import HostError

EXAMPLES = """\
questions:
  startup   what copy-on-write buys: a start, by root strategy and image size
  burst restart ready teardown idle memory commands unpack
  peers     the same work through what else is installed
  all       every question, one after the other, and the report
  report    a table and pictures of results

examples:
  anchor bench all --short                    a few minutes
  anchor bench startup --image ./rootfs --count 50 --strategies overlay,copy
  anchor bench burst --sizes 10,100 --out results
  anchor bench report results                 results/results.md, and pictures beside it
  anchor bench startup --help                 what else can be said
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options: all but the question are the question's own."""
    parser.add_argument("question", metavar="QUESTION", nargs="?", help="see below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Become the benchmarks. Raises HostError where they are not there."""
    place = Path(anchor_supervisor.__file__).resolve().parents[1] / "bench"
    if not (place / "__main__.py").is_file():
        message = f"the benchmarks are not installed: there is no `{place}`"
        hint = "they are in the source tree: `pip install --editable` it, or `make bench` there"
        raise HostError(message, hint=hint)
    question = [] if options.question is None else [options.question]
    asked = [*question, *options.arguments, *(["--json"] if options.json else [])]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(place), *asked])  # noqa: S606 - none is wanted
