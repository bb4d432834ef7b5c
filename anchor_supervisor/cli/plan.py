"""`anchor plan`: what a changed file would do to the fleet that runs, key by key."""

from __future__ import annotations

import argparse
import os
import sys

from anchor_supervisor.cli.options import add_json_option, paint_for_output, print_json
from anchor_supervisor.cli.plan_words import plan_words
from anchor_supervisor.cli.wanted import add_wanted_options, request_body, wanted_fleet
from anchor_supervisor.control.client import NotRunning
from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from anchor_supervisor.control.shapes import Plan
    from anchor_supervisor.fleet.model import Fleet

EXAMPLES = """\
Nothing is changed. The effects, the greatest of which counts for a container:
  nothing   no consequence for what runs
  live      taken over while it runs; its process does not notice
  signal    taken over while it runs, which is then told by a signal (`on_change`)
  restart   a new process, a few replicas at a time (`update`); address and written files stay
  recreate  everything anew, a few replicas at a time

examples:
  anchor plan                        ./fleet.toml against the fleet of that name
  anchor plan -f shop.toml -f more.toml --profile debug
  anchor plan --json | jq -r '.containers[] | select(.effect == "recreate") | .container'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_wanted_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Ask for it and print it."""
    fleet = wanted_fleet(options)
    try:
        plan: Plan = client_for(fleet.name).post("/v1/plan", request_body(fleet))
    except NotRunning:
        plan = _beginning(fleet)
    if options.json:
        print_json(plan)
        return 0
    width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    if not plan["running"]:
        print(f"fleet `{fleet.name}` is not running; `anchor up` would start:")
    print("\n".join(plan_words(plan, paint_for_output(), width)))
    return 0


def _beginning(fleet: Fleet) -> Plan:
    """Say what `up` would start."""
    from anchor_supervisor.runtime.plan_view import start_view

    containers = [start_view(container) for container in fleet.containers.values()]
    return {"fleet": fleet.name, "running": False, "keys": [], "containers": containers}
