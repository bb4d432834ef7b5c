"""`anchor logs`: what containers have said, merged by time."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from anchor_supervisor.cli.following import add_following_options, following, show
from anchor_supervisor.cli.options import add_fleet_options, add_json_option, fleet_name
from anchor_supervisor.control.fleets import client_for
from anchor_supervisor.control.protocol import NotFound, log_bytes, log_line
from anchor_supervisor.hints import TYPE_CHECKING, final
from anchor_supervisor.observability import places
from anchor_supervisor.observability.terminal import Prefixer, display_names, wants_color

if TYPE_CHECKING:
    from pathlib import Path

    from anchor_supervisor.control.shapes import LogLine
    from anchor_supervisor.observability.log_reader import Record

_INSTANCE = re.compile(r"(?P<container>.+)\.(?P<replica>[0-9]+)")

EXAMPLES = """\
examples:
  anchor logs                        everything there is, of every container
  anchor logs -f --tail 20 web       the last 20 lines of each replica of web, then on
  anchor logs --since 10m db         the last ten minutes of db
  anchor logs --previous web.1       the run before the present one: why did it end?
  anchor logs --json | jq -r .text   one JSON object a line
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_following_options(parser, "lines")
    parser.add_argument("-t", "--timestamps", action="store_true", help="begin lines with the time")
    parser.add_argument("--previous", action="store_true", help="the run before the present one")
    add_fleet_options(parser, taken="f")
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Show them."""
    fleet = fleet_name(options)
    return show(options, lambda: _follow(fleet, options), lambda: _show_stored(fleet, options))


def _follow(fleet: str, options: argparse.Namespace) -> None:
    from urllib.parse import urlencode

    client = client_for(fleet)
    rows = client.get("/v1/containers")
    shown = [row["name"] for row in rows]
    query = following(options)
    query += [("previous", "1")] if options.previous else []
    _Printer(shown, options).show(client.stream(f"/v1/logs?{urlencode(query)}"), live=True)


def _show_stored(fleet: str, options: argparse.Namespace) -> None:
    names = _stored(fleet, options.names)
    _Printer(names, options).show(_read(fleet, names, options))


def _stored(fleet: str, wanted: Sequence[str]) -> list[str]:
    """Name the wanted instances that have a log. Raises NotFound for a name that has none."""
    directory = places.fleet_log_dir(fleet)
    found = sorted(
        (match["container"], int(match["replica"]))
        for match in map(_INSTANCE.fullmatch, _entries(directory))
        if match
    )
    names = [f"{container}.{replica}" for container, replica in found]
    for name in wanted:
        if name not in names and name not in {container for container, _ in found}:
            known = ", ".join(dict.fromkeys(container for container, _ in found))
            message = f"fleet `{fleet}` has no output of `{name}`"
            raise NotFound(message, hint=f"it has of {known}" if known else None)
    return [
        name
        for name, (container, _) in zip(names, found, strict=True)
        if not wanted or name in wanted or container in wanted
    ]


def _entries(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(fleet: str, names: Sequence[str], options: argparse.Namespace) -> Iterator[LogLine]:
    import heapq

    from anchor_supervisor.observability.log_reader import read_records

    def lines(name: str) -> Iterator[tuple[str, str, Record]]:
        directory = places.log_dir(fleet, name)
        for record in read_records(
            directory, tail=options.tail, since=options.since, previous=options.previous
        ):
            yield record.time, name, record

    # One instance's records keep their order even where the clock was set back between them.
    for time, name, record in heapq.merge(*map(lines, names), key=lambda entry: entry[0]):
        yield log_line(name, time, record.stream, record.text, partial=record.partial)


@final
class _Printer:
    """Writes records to standard output: prefixed lines, or JSON."""

    def __init__(self, names: Sequence[str], options: argparse.Namespace) -> None:
        matches = [match for match in map(_INSTANCE.fullmatch, names) if match]
        shown = display_names((match["container"], int(match["replica"])) for match in matches)
        self._prefixer = Prefixer(shown, color=wants_color(sys.stdout))
        self._timestamps = options.timestamps
        self._json = options.json
        self._begun: set[tuple[str, str]] = set()

    def show(self, lines: Iterable[LogLine], *, live: bool = False) -> None:
        """Write them all; flush each where they come `live`."""
        output = sys.stdout.buffer
        names = set()
        for line in lines:
            names.add(line["name"])
            output.write(self._as_json(line) if self._json else self._as_text(line))
            if live:
                output.flush()
        for name in sorted(names):
            output.write(self._prefixer.finish(name))
        output.flush()

    def _as_json(self, line: LogLine) -> bytes:
        import json

        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def _as_text(self, line: LogLine) -> bytes:
        key = (line["name"], line["stream"])
        text = log_bytes(line)
        if self._timestamps and key not in self._begun:
            text = f"{line['time']} ".encode() + text
        if line["partial"]:
            self._begun.add(key)
        else:
            self._begun.discard(key)
            text += b"\n"
        return self._prefixer.feed(*key, text)
