"""Peers side by side: a row for each, of the many figures that were taken of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from records import Record, matching

NOTHING: Final = ""

Cell = Callable[[Record], str]


def _p50(record: Record) -> str:
    return f"{record['p50']:,.1f}"


def _floor(record: Record) -> str:
    return f"{record['ratio_to_floor']:.2f}" if "ratio_to_floor" in record else "1"


def _value(record: Record) -> str:
    return f"{record['value']:,.1f}"


def _whole(record: Record) -> str:
    return f"{record['value']:,.0f}"


def _seconds(record: Record) -> str:
    return f"{record['p50'] / 1000:.2f}"


COLUMNS: Final[dict[str, tuple[Cell, dict[str, object]]]] = {
    "whole command, ms": (_p50, {"measured": "one"}),
    "first instruction, ms": (_p50, {"measured": "first", "gap_ms": 0.0}),
    "x floor": (_floor, {"measured": "first", "gap_ms": 0.0}),
    "with gaps, ms": (_p50, {"measured": "first", "gap_ms": 20.0}),
    "many, ms each": (_value, {"measured": "started", "width": 1}),
    "4 at a time, ms each": (_value, {"measured": "started", "width": 4}),
    "ended, ms each": (_value, {"measured": "ended"}),
    "memory beside, KiB": (_whole, {"measured": "beside"}),
}


def overview(records: Sequence[Record]) -> Iterator[str]:
    """Yield who was asked for containers, then who brought stacks up and down."""
    told = [one for one in records if one.get("measured") in {"one", "first", "started"}]
    yield from _table(records, told, COLUMNS)
    stacks = matching(records, measured="up")
    columns: dict[str, tuple[Cell, dict[str, object]]] = {
        f"{size} services {words}, s": (_seconds, {"measured": words, "size": size})
        for size in sorted({one["size"] for one in stacks})
        for words in ("up", "down")
    }
    yield from _table(records, stacks, columns)
    again = matching(records, measured="restart")
    restart: dict[str, tuple[Cell, dict[str, object]]] = {
        "crash to the next first instruction, ms": (_p50, {"measured": "restart"})
    }
    yield from _table(records, again, restart)


def _table(
    records: Sequence[Record],
    told: Sequence[Record],
    columns: dict[str, tuple[Cell, dict[str, object]]],
) -> Iterator[str]:
    """Yield a row for each of whom something was told; what was not is an empty cell."""
    names = list(dict.fromkeys(str(one["who"]) for one in told if "who" in one))
    shown = [
        (words, cell, facts)
        for words, (cell, facts) in columns.items()
        if any(matching(records, who=name, **facts) for name in names)
    ]
    if not shown:
        return
    yield f"\n| p50 | {' | '.join(words for words, _, _ in shown)} |"
    yield f"|---|{'---|' * len(shown)}"
    for name in names:
        cells = []
        for _, cell, facts in shown:
            found = matching(records, who=name, **facts)
            cells.append(cell(found[0]) if found else NOTHING)
        versions = [one["version"] for one in told if one.get("who") == name and "version" in one]
        yield f"| {' '.join([name, *versions[:1]]).strip()} | {' | '.join(cells)} |"
