"""How a plan looks to a person. Pure; standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile

from anchor_supervisor.cli import render
from anchor_supervisor.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

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
_BETWEEN: Final = len("  " + "  " + " -> " + "  ")  # what stands between the columns
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
    """Yield the lines of a plan; where `width` is no room for columns, values are below keys."""
    if not plan["keys"] and not plan["containers"]:
        yield NOTHING
        return
    changes = [*plan["keys"], *(k for one in plan["containers"] for k in one["keys"])]
    columns = _columns(changes)
    longest = sum(columns) + _BETWEEN + max((len(k["effect"]) for k in changes), default=0)
    narrow = width if 0 < width < longest else 0
    if plan["keys"]:
        yield paint.bold(f"fleet {plan['fleet']}")
        for change in plan["keys"]:
            yield from _key(change, columns, paint, narrow)
    for one in plan["containers"]:
        yield _headline(one, paint)
        for change in one["keys"]:
            yield from _key(change, columns, paint, narrow)
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


def _key(
    change: KeyChange, columns: tuple[int, int, int], paint: Paint, narrow: int
) -> Iterator[str]:
    """Yield key, values and effect in columns, or below each other in `narrow` letters."""
    key, before, after = columns
    name = render.one_line(change["key"])
    old, new = _values(change)
    effect = paint(change["effect"], COLOURS.get(change["effect"]))
    if not narrow:
        yield f"  {name:<{key}}  {old:<{before}} -> {new:<{after}}  {effect}"
        return
    # What must not be lost at the right is the effect.
    yield f"  {_cut(name, narrow - len(change['effect']) - 4)}  {effect}"
    together = f"    {old} -> {new}"
    if len(together) <= narrow:
        yield together
    else:
        yield _cut(f"    {old}", narrow)
        yield _cut(f"    -> {new}", narrow)


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
    return _cut(before, _LONGEST), _cut(after, _LONGEST)


def _alike(one: str, other: str) -> int:
    """How many letters they begin with together."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def _summary(plan: Plan) -> str:
    counts = Counter(one["effect"] for one in plan["containers"])
    words = [f"{counts[effect]} {said}" for effect, said in _SUMMARY.items() if counts[effect]]
    if not words:
        return ""
    rest = "; every other container stays as it is" if plan["running"] else ""
    return ", ".join(words) + rest
