"""How an entry of the journal looks to a person. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from anchor_supervisor.cli import render

if TYPE_CHECKING:
    from anchor_supervisor.cli.render import Paint

COLOURS: Final = {
    "oom": "31",
    "memory-high": "33",
    "throttled": "33",
    "pressure": "33",
    "done": "32",
    "paused": "31",
    "rolled back": "31",
    "superseded": "2",
}
_BYTES: Final = frozenset({"limit", "peak", "high", "current"})
_SECONDS: Final = frozenset({"throttled_for", "window", "stalled"})
_NAMED: Final = frozenset({"time", "event", "container"})


def entry_line(entry: Mapping[str, Any], paint: Paint, *, with_date: bool, width: int = 0) -> str:
    """Give one line: when, who, what, why. `width` is the room for names (0: as it comes)."""
    when = moment(str(entry["time"]), with_date=with_date)
    name = render.one_line(str(entry.get("container") or "fleet"))
    word, text = entry_words(entry)
    said = paint(word, render.STATE_COLOURS.get(word, COLOURS.get(word)))
    return f"{paint.dim(when)}  {name:<{width}}  {said}" + (f": {text}" if text else "")


def moment(text: str, *, with_date: bool) -> str:
    """Give the local time of an entry, to the millisecond."""
    try:
        local = datetime.fromisoformat(text).astimezone()
    except ValueError:
        return render.one_line(text)
    day = local.strftime("%Y-%m-%d ") if with_date else ""
    return f"{day}{local.strftime('%H:%M:%S')}.{local.microsecond // 1000:03d}"


def entry_words(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Give what happened in a word, and the rest: the reason, or the figures."""
    event = str(entry["event"])
    reason = render.one_line(str(entry.get("reason") or ""))
    match event:
        case "transition":
            changed = entry.get("health") not in {None, "none"} and (
                entry.get("before") == entry.get("state")
            )
            return str(entry["health" if changed else "state"]), reason
        case "update":
            count = f"update {entry.get('result')}"
            return count, reason
        case _:
            figures = ", ".join(
                f"{key.replace('_', ' ')} {_figure(key, value)}"
                for key, value in entry.items()
                if key not in _NAMED | {"reason"} and value is not None
            )
            return event, "; ".join(part for part in (reason, figures) if part)


def _figure(key: str, value: object) -> str:
    """Give a figure with its unit."""
    if isinstance(value, int) and not isinstance(value, bool) and key in _BYTES:
        return render.size(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and key in _SECONDS:
        return render.duration(value)
    if isinstance(value, float):
        return f"{value:g}"
    return render.one_line(str(value))
