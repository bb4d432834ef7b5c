"""Following a change of a running fleet to its end, for `apply` and `scale`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from contextlib import closing

from anchor_supervisor.cli import render
from anchor_supervisor.cli.entry_words import entry_line
from anchor_supervisor.cli.options import paint_for_output, print_json
from anchor_supervisor.cli.plan_words import plan_words
from anchor_supervisor.cli.problems import show
from anchor_supervisor.cli.render import Paint
from anchor_supervisor.control.client import Interrupted
from anchor_supervisor.errors import ControlError
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.observability.terminal import wants_color

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from anchor_supervisor.control.shapes import ApplyLine, ApplyResult


def add_patience_option(parser: argparse.ArgumentParser) -> None:
    """Add `--wait-timeout DURATION`."""
    parser.add_argument(
        "--wait-timeout",
        metavar="DURATION",
        type=_duration,
        help="how long to wait for the end; the change goes on all the same (default: to the end)",
    )


def follow(fleet: str, lines: Generator[ApplyLine, None, None], *, as_json: bool) -> int:
    """Show what happens, then the result; return the exit code."""
    began = time.monotonic()
    try:
        with closing(lines):
            result = _watch(lines, as_json=as_json)
    except KeyboardInterrupt:
        print(
            f"\nfleet `{fleet}` goes on changing; `anchor ps` shows how far it is", file=sys.stderr
        )
        raise
    if result is None:
        message = f"the supervisor of `{fleet}` ended before the change was through"
        raise Interrupted(message)
    if as_json:
        print_json(result)
        return 0 if result["ok"] else 1
    return _verdict(fleet, result, render.duration(time.monotonic() - began))


def _watch(lines: Iterable[ApplyLine], *, as_json: bool) -> ApplyResult | None:
    """Print the plan on standard output and what happens on standard error, as it happens."""
    told = Paint(color=wants_color(sys.stderr))
    for line in lines:
        if "result" in line:
            return line["result"]
        if as_json:
            continue
        if "plan" in line:
            width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
            print("\n".join(plan_words(line["plan"], paint_for_output(), width)), flush=True)
        elif "entry" in line:
            print(entry_line(line["entry"], told, with_date=False), file=sys.stderr, flush=True)
    return None


def _verdict(fleet: str, result: ApplyResult, took: str) -> int:
    for failure in result["failed"]:
        show(ControlError(failure))
    if not result["ok"]:
        _advise(result)
        return 1
    plan = result["plan"]
    if plan["containers"] or plan["keys"]:
        print(f"fleet `{fleet}` is as it shall be ({took})", file=sys.stderr)
    return 0


def _advise(result: ApplyResult) -> None:
    """Say what can be done about it, once for all that failed."""
    ends = {update["result"] for update in result["updates"]}
    if "paused" in ends:
        hint = "`anchor why NAME` tells why; what was replaced stays until the next `anchor apply`"
    elif "rolled back" in ends:
        hint = "`anchor logs NAME` has its last words; everything is as it was"
    else:
        hint = "`anchor why NAME` tells why"
    paint = Paint(color=wants_color(sys.stderr))
    print(f"{paint('hint:', '36')} {hint}", file=sys.stderr)


def _duration(text: str) -> Any:  # noqa: ANN401 - argparse wants a converter
    from anchor_supervisor.fleet.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
