"""How an entry of the journal looks to a person. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from anchor_supervisor.cli import render
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Final, TypeGuard

    from anchor_supervisor.cli.render import Paint

COLOURS: Final = {
    "oom": "31",
    "memory-high": "33",
    "throttled": "33",
    "deaf": "33",
    "pressure": "33",
    "done": "32",
    "paused": "31",
    "rolled back": "31",
    "superseded": "2",
}
_NAMED: Final = frozenset({"time", "event", "container", "reason", "left_out"})


def entry_line(entry: Mapping[str, Any], paint: Paint, *, with_date: bool, width: int = 0) -> str:
    """Give one line: when, who, what, why. `width` is the room for names (0: as it comes)."""
    when = moment(str(entry["time"]), with_date=with_date)
    name = render.one_line(str(entry.get("container") or "fleet"))
    word, text = entry_words(entry)
    said = paint(word, render.STATE_COLOURS.get(word, COLOURS.get(word)))
    more = f": {text}" if text and text != word else ""
    return f"{paint.dim(when)}  {name:<{width}}  {said}{more}"


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
            stays = entry.get("before") == entry.get("state") == "running"
            of_health = stays and entry.get("health") != "none"
            word = render.one_line(str(entry.get("health" if of_health else "state")))
            if of_health and word == "starting":  # which is a state too
                word = "probed anew"
            return word, reason.removeprefix(f"{word}: ")
        case "update":
            return f"update {render.one_line(str(entry.get('result')))}", reason
        case "refresh":
            told = entry.get("signal")
            how = f", and told by {render.one_line(str(told))}" if told else ""
            return event, f"changed while it runs{how}"
        case _:
            left_out = entry.get("left_out")
            more = [f"and {left_out} times more since the last"] if left_out else []
            figures = _FIGURES.get(event, _any_figures)(entry)
            return render.one_line(event), ", ".join(
                word for word in [reason, *figures, *more] if word
            )


def _oom_figures(entry: Mapping[str, Any]) -> list[str]:
    count = entry.get("count")
    killed = f"{count} process{'' if count == 1 else 'es'} killed" if count else ""
    return [killed, _size("limit", entry), _size("peak", entry)]


def _high_figures(entry: Mapping[str, Any]) -> list[str]:
    count = entry.get("count")
    times = f"{count} times above it" if count else ""
    return [times, _size("limit", entry), _size("current", entry)]


def _pressure_figures(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{_percent(entry.get('some_avg10'))} of the time some tasks waited for memory",
        f"{_percent(entry.get('full_avg10'))} all of them",
    ]


def _throttled_figures(entry: Mapping[str, Any]) -> list[str]:
    count, waited = entry.get("nr_throttled"), entry.get("throttled_usec")
    times = f"{count} times" if count else ""
    return [times, f"waited {render.duration(waited / 1e6)}" if _is_number(waited) else ""]


def _any_figures(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{render.one_line(key.replace('_', ' '))} {render.one_line(str(value))}"
        for key, value in entry.items()
        if key not in _NAMED and value is not None
    ]


_FIGURES: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "oom": _oom_figures,
    "memory-high": _high_figures,
    "pressure": _pressure_figures,
    "throttled": _throttled_figures,
}


def _size(key: str, entry: Mapping[str, Any]) -> str:
    value = entry.get(key)
    return f"{key} {render.size(int(value))}" if _is_number(value) else ""


def _percent(value: object) -> str:
    return f"{value:g}%" if _is_number(value) else "?"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
