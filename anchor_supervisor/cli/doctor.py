"""`anchor doctor`: what this machine can and cannot do for us."""

from __future__ import annotations

import argparse

from anchor_supervisor.cli import render
from anchor_supervisor.cli.options import add_json_option, paint_for_output, print_json
from anchor_supervisor.errors import HostError

EXAMPLES = """\
Exit code 0: containers can run here (a warning names what we do without); 3: they cannot.

examples:
  anchor doctor
  anchor doctor --json | jq -r '.[] | select(.verdict != "ok") | .remedy'
"""

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Check, tell, and sum up in the exit code."""
    from anchor_supervisor.cli.machine import FAIL, findings

    found = list(findings())
    if options.json:
        print_json([finding._asdict() for finding in found])
    else:
        paint = paint_for_output()
        width = max(len(finding.name) for finding in found)
        for finding in found:
            verdict = paint(f"{finding.verdict:<4}", _COLOURS[finding.verdict])
            print(f"{verdict}  {finding.name:<{width}}  {render.one_line(finding.found)}")
            if finding.remedy:
                print(f"      {'':<{width}}  {paint.dim('remedy:')} {finding.remedy}")
    failed = any(finding.verdict == FAIL for finding in found)
    return HostError.exit_code if failed else 0
