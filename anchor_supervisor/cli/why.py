"""`anchor why NAME`: the whole story of one container's state, on one screen."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime

from anchor_supervisor.cli import render
from anchor_supervisor.cli.entry_words import entry_line
from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    fleet_client,
    paint_for_output,
    print_json,
)
from anchor_supervisor.cli.row_words import limit_words, next_words, port_words
from anchor_supervisor.control.protocol import container_page, log_bytes
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.observability.terminal import neutral

if TYPE_CHECKING:
    from anchor_supervisor.cli.render import Paint
    from anchor_supervisor.control.shapes import (
        ContainerRow,
        Dependency,
        Exit,
        RestartStory,
        ScheduleStory,
        Why,
    )

_HISTORY_SHOWN = 12

EXAMPLES = """\
What it waits for, how its last run ended, what its health probe said, its last words, what
happens next and when.

examples:
  anchor why web
  anchor why web.2 --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a container, or one replica of it")
    add_fleet_options(parser)
    add_json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Tell it."""
    stories: list[Why] = fleet_client(options).get(container_page(options.name, "why"))
    if options.json:
        print_json(stories)
        return 0
    paint = paint_for_output()
    present = render.now()
    print("\n\n".join("\n".join(tell(story, present, paint)) for story in stories))
    return 0


def tell(story: Why, present: datetime, paint: Paint) -> Iterator[str]:
    """Yield the lines of one instance's story."""
    yield from _headline(story["container"], present, paint)
    yield from _facts(story, present, paint)
    if story["dependencies"]:
        yield ""
        yield paint.bold("depends on")
        yield from _dependencies(story["dependencies"], paint, "  ")
    yield from _probe(story, paint)
    yield from _stop_command(story, paint)
    yield from _incidents(story, paint)
    yield from _history(story, paint)
    yield from _log(story, paint)


def _headline(row: ContainerRow, present: datetime, paint: Paint) -> Iterator[str]:
    health = "" if row["health"] == "none" else f", {paint.state(row['health'])}"
    since = f"for {render.ago(row['since'], present)}"
    yield f"{paint.bold(row['name'])} is {paint.state(row['state'])}{health} {since}"
    if row["reason"]:
        yield f"  {render.one_line(row['reason'])}"
    if row["warning"]:
        yield f"  {paint('warning:', '33')} {render.one_line(row['warning'])}"


def _facts(story: Why, present: datetime, paint: Paint) -> Iterator[str]:
    row = story["container"]
    facts = [
        ("next", _next(row, present)),
        ("update", _update(story)),
        ("says", render.one_line(story["told"] or "")),
        ("last exit", _exit(story["last_exit"], present)),
        ("restarts", _restarts(row, story["restarts"])),
        ("schedule", _schedule(story["schedule"], present)),
        ("may run", _until(story["until"], present)),
        ("stop", render.one_line(story["stop"]["how"])),
        ("process", f"pid {row['pid']}" if row["pid"] else ""),
        ("address", row["address"] or ""),
        ("ports", ", ".join(port_words(row))),
        ("limits", limit_words(row.get("limits"))),
        ("image", render.one_line(row["image"])),
    ]
    told = [(label, text) for label, text in facts if text]
    if told:
        yield ""
    for label, text in told:
        yield f"  {paint.dim(f'{label:<9}')}  {text}"


def _next(row: ContainerRow, present: datetime) -> str:
    words = next_words(row, present)
    return f"{words} (at {render.moment(row['next_at'])})" if row["next_at"] else words


def _update(story: Why) -> str:
    update = story["update"]
    if update is None:
        return ""
    if story["container"]["update"]:
        return render.one_line(story["container"]["update"])
    reason = f": {update['reason']}" if update["reason"] else ""
    return render.one_line(f"the last one is {update['result']}{reason}")


def _schedule(story: ScheduleStory | None, present: datetime) -> str:
    if story is None:
        return ""
    if story["suspended"]:
        rest = ", suspended until it is started"
    elif story["next_at"]:
        moment = render.moment(story["next_at"])
        rest = f", next {render.until(story['next_at'], present)} (at {moment})"
    else:
        rest = ""
    queued = ", a run is queued" if story["queued"] else ""
    skipped = f", {story['skipped']} skipped" if story["skipped"] else ""
    return render.one_line(story["when"]) + rest + queued + skipped


def _until(text: str | None, present: datetime) -> str:
    if text is None:
        return ""
    return f"until {render.clock(text)} ({render.until(text, present)})"


def _exit(ended: Exit | None, present: datetime) -> str:
    if ended is None:
        return ""
    words = render.one_line(render.exit_words(ended["code"], ended["signal"], ended["oom"]))
    ran = f" after {render.duration(ended['ran'])}" if ended["ran"] is not None else ""
    when = f", {render.ago(ended['at'], present)} ago" if ended["at"] else ""
    return words + ran + when


def _restarts(row: ContainerRow, story: RestartStory | None) -> str:
    if story is None:
        return f"{row['restarts']} so far" if row["restarts"] else ""
    if story["when"] == "no":
        return f"{row['restarts']} so far; never by itself"
    bound = f"at most {story['max']}" if story["max"] is not None else "no bound"
    window = render.duration(story["window"])
    delay = f", next delay {render.duration(story['delay'])}" if story["delay"] else ""
    many = story["in_window"]
    counted = f"{many} attempt{'' if many == 1 else 's'} in the last {window}"
    return f"{row['restarts']} so far; {story['when']}, {counted} ({bound}){delay}"


def _dependencies(found: Sequence[Dependency], paint: Paint, indent: str) -> Iterator[str]:
    width = max(len(dependency["name"]) for dependency in found)
    for dependency in found:
        mark = paint("ok", "32") if dependency["met"] else paint("--", "33")
        health = "" if dependency["health"] == "none" else f", {paint.state(dependency['health'])}"
        reason = f": {render.one_line(dependency['reason'])}" if dependency["reason"] else ""
        name = f"{dependency['name']:<{width}}"
        state = f"{paint.state(dependency['state'])}{health}{reason}"
        yield f"{indent}{mark} {name}  must be {dependency['condition']}; is {state}"
        if dependency["dependencies"]:
            yield from _dependencies(dependency["dependencies"], paint, indent + "   ")


def _probe(story: Why, paint: Paint) -> Iterator[str]:
    probe = story["probe"]
    if probe is None:
        return
    yield ""
    failures = f"{probe['failures']} of {probe['retries']} failures in a row"
    kind = "startup probe" if probe["startup"] else "probe"
    yield f"{paint.bold(kind)} {render.one_line(probe['probe'])}  ({failures})"
    for result in probe["results"]:
        mark = paint("ok  ", "32") if result["ok"] else paint("fail", "31")
        took = f"  {render.duration(result['duration'])}" if result["duration"] is not None else ""
        yield f"  {render.clock(result['at'])}  {mark}{took}  {render.one_line(result['output'])}"
    if not probe["results"]:
        yield "  no answer yet"


def _stop_command(story: Why, paint: Paint) -> Iterator[str]:
    stop = story["stop"]
    if stop["command_at"] is None:
        return
    mark = paint("ok  ", "32") if stop["command_ok"] else paint("fail", "31")
    output = render.one_line(stop["command_output"] or "")
    yield ""
    yield paint.bold("stop command")
    yield f"  {render.moment(stop['command_at'])}  {mark}  {output}".rstrip()


def _incidents(story: Why, paint: Paint) -> Iterator[str]:
    if not story["incidents"]:
        return
    yield ""
    yield paint.bold("incidents")
    for entry in story["incidents"]:
        yield f"  {entry_line(entry, paint, with_date=True)}"


def _history(story: Why, paint: Paint) -> Iterator[str]:
    if not story["history"]:
        return
    yield ""
    yield paint.bold("history")
    left_out = len(story["history"]) - _HISTORY_SHOWN
    if left_out > 0:
        yield paint.dim(f"  ... {left_out} earlier; --json has them")
    for entry in story["history"][-_HISTORY_SHOWN:]:
        health = "" if entry["health"] == "none" else f", {paint.state(entry['health'])}"
        reason = f"  {render.one_line(entry['reason'])}" if entry["reason"] else ""
        yield f"  {render.clock(entry['time'])}  {paint.state(entry['state'])}{health}{reason}"


def _log(story: Why, paint: Paint) -> Iterator[str]:
    if not story["log"]:
        return
    yield ""
    yield paint.bold("last output")
    for line in story["log"]:
        text = neutral(log_bytes(line)).decode()
        stream = paint.dim(line["stream"].ljust(6))
        yield f"  {render.clock(line['time'])}  {stream}  {text}"
