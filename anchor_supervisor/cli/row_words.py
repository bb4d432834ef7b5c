"""How the rows of `anchor ps` look to a person. Pure but for the terminal's width and the time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime  # for `render`; this module is loaded while nothing else can be done

from anchor_supervisor.cli import render
from anchor_supervisor.cli.options import paint_for_output
from anchor_supervisor.hints import TYPE_CHECKING
from anchor_supervisor.observability.terminal import display_names

if TYPE_CHECKING:
    from anchor_supervisor.control.shapes import ContainerRow, LimitsRow

_SPARED = ("LIMITS", "PORTS", "ADDRESS", "PID", "SINCE")
"""What a narrow terminal goes without, in this order, so that the reason can be read."""
_REASON_WIDTH = 20
_SHORT = {
    "starts again": "start",
    "runs": "run",
    "runs again": "run",
    "is killed": "kill",
    "is killed again": "kill",
    "is stopped": "stop",
    "is asked to end": "end",
    "its next run is skipped if this one goes on": "next run",
    "its next run is queued if this one goes on": "next run",
    "is replaced by its next run": "next run",
}
"""What happens next, for a column; `why` has it in full."""

_HEADERS = (
    "NAME",
    "STATE",
    "HEALTH",
    "SINCE",
    "RESTARTS",
    "NEXT",
    "PID",
    "ADDRESS",
    "PORTS",
    "LIMITS",
    "REASON",
)


def list_rows(rows: Sequence[ContainerRow], *, with_fleet: bool) -> str:
    """Lay rows out as a table; its last column is cut where a terminal ends."""
    present = render.now()
    width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    headers: tuple[str, ...] = ("FLEET", *_HEADERS) if with_fleet else _HEADERS
    shown = display_names((row["container"], row["replica"]) for row in rows)
    cells = [_cells(row, shown[row["name"]], present) for row in rows]
    if with_fleet:
        cells = [[row["fleet"], *rest] for row, rest in zip(rows, cells, strict=True)]
    if not any(limit_words(row.get("limits")) for row in rows):
        headers = _without("LIMITS", headers, cells)
    for column in _SPARED:
        if width and column in headers and _fixed_width(headers, cells) > width - _REASON_WIDTH:
            headers = _without(column, headers, cells)
    return render.table(headers, cells, paint_for_output(), width)


def _without(
    column: str, headers: tuple[str, ...], cells: list[list[render.Cell]]
) -> tuple[str, ...]:
    """Take a column out of the cells; return the headers that are left."""
    place = headers.index(column)
    for line in cells:
        del line[place]
    return headers[:place] + headers[place + 1 :]


def _fixed_width(headers: tuple[str, ...], cells: list[list[render.Cell]]) -> int:
    """Say where the last column begins."""
    texts = [[cell if isinstance(cell, str) else cell[0] for cell in line] for line in cells]
    columns = list(zip(headers, *texts, strict=True))[:-1]
    return sum(max(map(len, column)) + 2 for column in columns)


def _cells(row: ContainerRow, name: str, present: datetime) -> list[render.Cell]:
    health = "-" if row["health"] == "none" else row["health"]
    return [
        name,
        _coloured(row["state"]),
        _coloured(health),
        render.ago(row["since"], present),
        restart_words(row),
        _next_moment(row, present) or "-",
        str(row["pid"] or "-"),
        row["address"] or "-",
        ", ".join(port_words(row)) or "-",
        limit_words(row.get("limits")) or "-",
        render.one_line("; ".join(_remarks(row))),
    ]


def _remarks(row: ContainerRow) -> list[str]:
    """Say what there is to say, what an operator should see first."""
    update = f"update: {row['update']}" if row["update"] else ""
    return [words for words in (update, row["reason"], row["warning"]) if words]


def restart_words(row: ContainerRow) -> str:
    """Say the restarts, and how many of those that are allowed are used up: `7 (2/5)`."""
    if row["attempts_most"] is None or not row["attempts"]:
        return str(row["restarts"])
    return f"{row['restarts']} ({row['attempts']}/{row['attempts_most']})"


def _next_moment(row: ContainerRow, present: datetime) -> str:
    """Say what happens next where there is a time for it; a probe is no news."""
    if row["next_at"] is None or row["next"] == "is probed":
        return ""
    words = render.one_line(row["next"] or "").partition(" (")[0].partition(",")[0]
    return f"{_SHORT.get(words, words)} {render.until(row['next_at'], present)}"


def _coloured(word: str) -> render.Cell:
    return (word, render.STATE_COLOURS.get(word, ""))


def next_words(row: ContainerRow, present: datetime) -> str:
    """Say what happens next and when: `starts again in 3.2s`."""
    if row["next"] is None:
        return ""
    when = render.until(row["next_at"], present) if row["next_at"] else ""
    return f"{render.one_line(row['next'])} {when}".rstrip()


def port_words(row: ContainerRow) -> list[str]:
    """Say what is published: `127.0.0.1:8080->80`; only udp is named."""
    return [
        f"{port['host_address']}:{port['host_port']}->{port['container_port']}"
        + ("" if port["protocol"] == "tcp" else f"/{port['protocol']}")
        for port in row["ports"]
    ]


def limit_words(limits: LimitsRow | None) -> str:
    """Say the limits in force: `64M 0.5cpu 4096pids`."""
    if limits is None:
        return ""
    words = [
        render.size(limits["memory"]) if limits["memory"] is not None else "",
        f"{limits['cpus']:g}cpu" if limits["cpus"] is not None else "",
        f"{limits['pids']}pids" if limits["pids"] is not None else "",
    ]
    return " ".join(word for word in words if word)
