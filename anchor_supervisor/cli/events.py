"""`anchor events`: what has happened to a fleet, as its journal has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from anchor_supervisor.cli.entry_words import entry_line
from anchor_supervisor.cli.following import add_following_options, following, show
from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_name,
    paint_for_output,
    print_json,
)
from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.control.protocol import NotFound
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.observability import places

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from anchor_supervisor.observability.journal import Entry

EXAMPLES = """\
Every change of state or health with its reason, kills for want of memory, pressure and throttling
with their figures, updates and their ends. Kept when the supervisor ends, and bounded.

examples:
  anchor events                      everything there is
  anchor events -f --tail 10 web     the last ten of web, then on as they come
  anchor events --since 10m          the last ten minutes
  anchor events --json | jq -r '.[] | select(.event == "oom") | .container'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_following_options(parser, "entries")
    add_fleet_options(parser, taken="f")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Show them."""
    fleet = fleet_name(options)
    return show(options, lambda: _follow(fleet, options), lambda: _show_stored(fleet, options))


def _follow(fleet: str, options: argparse.Namespace) -> None:
    from urllib.parse import urlencode

    query = following(options)
    lines: Generator[Entry, None, None] = client_for(fleet).stream(f"/v1/events?{urlencode(query)}")
    _show(lines, as_json=options.json)


def _show_stored(fleet: str, options: argparse.Namespace) -> None:
    entries = _stored(fleet, options)
    if options.json and not options.follow:
        print_json(entries)
    else:
        _show(entries, as_json=options.json, width=max(map(_room, entries), default=0))


def _stored(fleet: str, options: argparse.Namespace) -> list[Entry]:
    """Read what is written down. Raises NotFound for a name that nothing is known of."""
    from anchor_supervisor.observability.journal import last_entries, read_entries

    directory = places.fleet_log_dir(fleet)
    for name in options.names:
        if next(iter(read_entries(directory, names=(name,))), None) is None:
            message = f"nothing has happened to `{name}` in fleet `{fleet}`"
            known = _known(directory)
            raise NotFound(message, hint=f"something has to {known}" if known else None)
    if options.tail is None:
        return list(read_entries(directory, since=options.since, names=options.names))
    return last_entries(directory, options.tail, since=options.since, names=options.names)


def _known(directory: Any) -> str:  # noqa: ANN401
    from anchor_supervisor.observability.journal import read_entries

    names = (str(entry.get("container") or "") for entry in read_entries(directory))
    containers = (name.rpartition(".")[0] or name for name in names)
    return ", ".join(dict.fromkeys(name for name in containers if name))


def _room(entry: Mapping[str, Any]) -> int:
    """How wide a name is."""
    return len(str(entry.get("container") or "fleet"))


def _show(entries: Iterable[Mapping[str, Any]], *, as_json: bool, width: int = 0) -> None:
    """Write them a line each, as they come; `width` is the room for names that is known of."""
    paint = paint_for_output()
    for entry in entries:
        if as_json:
            import json

            print(json.dumps(entry, ensure_ascii=True), flush=True)
            continue
        width = max(width, _room(entry))
        print(entry_line(entry, paint, with_date=True, width=width), flush=True)
