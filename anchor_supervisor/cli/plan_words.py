"""How a plan looks to a person. Pure; standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from anchor_supervisor.cli import render

if TYPE_CHECKING:
    from anchor_supervisor.cli.render import Paint
    from anchor_supervisor.control.shapes import ContainerChange, KeyChange, Plan

COLOURS: Final = {
    "nothing": "2",
    "live": "32",
    "signal": "36",
    "restart": "33",
    "recreate": "31",
    "start": "32",
    "stop": "31",
}
NOTHING: Final = "nothing would change"
_LONGEST: Final = 48  # letters of a value; the whole of it is in --json
_ALIKE: Final = 12  # letters that are shown of what two long values have in common
_SUMMARY: Final = {
    "start": "to start",
    "stop": "to stop",
    "recreate": "to recreate",
    "restart": "to restart",
    "signal": "to signal",
    "live": "to change live",
}


def plan_words(plan: Plan, paint: Paint, width: int) -> Iterator[str]:
    """Yield the lines of a plan; lines are cut at `width` (0: not)."""
    if not plan["keys"] and not plan["containers"]:
        yield NOTHING
        return
    columns = _columns([*plan["keys"], *(k for one in plan["containers"] for k in one["keys"])])
    if plan["keys"]:
        yield paint.bold(f"fleet {plan['fleet']}")
        yield from (_key(change, columns, paint, width) for change in plan["keys"])
    for one in plan["containers"]:
        yield _headline(one, paint)
        yield from (_key(change, columns, paint, width) for change in one["keys"])
    if summary := _summary(plan):
        yield paint.dim(summary)


def _headline(one: ContainerChange, paint: Paint) -> str:
    effect = paint(one["effect"], COLOURS.get(one["effect"]))
    before, after = one["replicas_before"], one["replicas"]
    if before == after:
        count = f", {after} replicas" if after != 1 else ""
    elif one["action"] == "change":
        count = f", {before} -> {after} replicas"
    else:
        most = max(before, after)
        count = f", {most} replicas" if most != 1 else ""
    return f"{paint.bold(one['container'])}: {effect}{count}"


def _columns(changes: list[KeyChange]) -> tuple[int, int, int]:
    return (
        max((len(change["key"]) for change in changes), default=0),
        max((len(_values(change)[0]) for change in changes), default=0),
        max((len(_values(change)[1]) for change in changes), default=0),
    )


def _key(change: KeyChange, columns: tuple[int, int, int], paint: Paint, width: int) -> str:
    key, before, after = columns
    old, new = _values(change)
    line = f"  {render.one_line(change['key']):<{key}}  {old:<{before}} -> {new:<{after}}  "
    effect = change["effect"]
    if width and len(line) + len(effect) > width:
        # What would be lost at the right is the effect, so the values give way.
        line = line.rstrip()[: max(0, width - len(effect) - 3)] + "…  "
    return line + paint(effect, COLOURS.get(effect))


def _values(change: KeyChange) -> tuple[str, str]:
    """Before and after; of long ones the part in which they differ."""
    before, after = (
        "-" if text is None else render.one_line(text)
        for text in (change["before"], change["after"])
    )
    if max(len(before), len(after)) > _LONGEST:
        alike = _alike(before, after) - _ALIKE
        if alike > 1:
            before, after = f"…{before[alike:]}", f"…{after[alike:]}"
    return _cut(before), _cut(after)


def _alike(one: str, other: str) -> int:
    """How many letters they begin with together."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _summary(plan: Plan) -> str:
    counts = Counter(one["effect"] for one in plan["containers"])
    words = [f"{counts[effect]} {said}" for effect, said in _SUMMARY.items() if counts[effect]]
    if not words:
        return ""
    rest = "; every other container stays as it is" if plan["running"] else ""
    return ", ".join(words) + rest
