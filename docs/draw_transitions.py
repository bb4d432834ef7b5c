"""Draw `docs/transitions.svg` from the table that the supervisor itself lives by.

Nothing is drawn that is not in `supervision.lifecycle.TRANSITIONS`; only where each state stands on
the page is decided here. A test compares the file with what this draws. Run from the repository:
``.venv/bin/python docs/draw_transitions.py``
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from anchor_supervisor.supervision.lifecycle import DOWN, HELD, TRANSITIONS, Trigger
from anchor_supervisor.supervision.states import State

FILE: Final = Path(__file__).resolve().parent / "transitions.svg"

PLACES: Final = {
    State.WAITING: (110, 200),
    State.STARTING: (390, 80),
    State.BACKOFF: (390, 320),
    State.RUNNING: (670, 80),
    State.STOPPING: (670, 320),
    State.COMPLETED: (950, 80),
    State.STOPPED: (390, 520),
    State.FAILED: (950, 320),
}
WIDTH: Final = 1060
HALF: Final = (58, 22)
"""Half of a box: width, height."""

BEND: Final = 34
LABEL_AT: Final = 0.36  # of the way: in the middle, crossing arrows would share a place
TABLE_TOP: Final = 600
ROW: Final = 26
COLUMN: Final = 88

STYLE: Final = """
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2933; }
  .state { font-weight: 600; text-anchor: middle; dominant-baseline: central; }
  .trigger { font-size: 12px; text-anchor: middle; fill: #52606d; paint-order: stroke;
             stroke: #ffffff; stroke-width: 4px; }
  .cell { text-anchor: middle; font-size: 12px; }
  .head { font-weight: 600; text-anchor: middle; font-size: 12px; }
  .row { font-weight: 600; }
  path { fill: none; stroke: #7b8794; stroke-width: 1.5; }
  rect.box { stroke: #3e4c59; stroke-width: 1.5; }
  line { stroke: #cbd2d9; }
"""
FILLS: Final = {"up": "#d1fae5", "held": "#fef3c7", "down": "#e4e7eb"}


def edges() -> dict[tuple[State, State], list[Trigger]]:
    """Return every pair of states that the table joins, with the triggers that do."""
    joined: dict[tuple[State, State], list[Trigger]] = {}
    for state, row in TRANSITIONS.items():
        for trigger, following in row.items():
            joined.setdefault((state, following), []).append(trigger)
    return joined


def draw() -> str:
    """Return the whole picture."""
    height = TABLE_TOP + ROW * (len(State) + 2)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            ' aria-label="The states of a container and what leads from one to another">'
        ),
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        (
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            ' markerHeight="7" orient="auto-start-reverse">'
            '<path d="M0 0L10 5L0 10z" style="fill:#7b8794;stroke:none"/></marker></defs>'
        ),
    ]
    labels = []
    for (source, target), triggers in edges().items():
        line, label = _edge(source, target, ", ".join(triggers))
        lines.append(line)
        labels.append(label)
    lines += [_box(state) for state in State]
    lines += [*labels, *_table(), "</svg>"]
    return "\n".join(lines) + "\n"


def _box(state: State) -> str:
    kind = "held" if state in HELD else "down" if state in DOWN else "up"
    x, y = PLACES[state]
    width, height = HALF
    return (
        f'<rect class="box" x="{x - width}" y="{y - height}" width="{2 * width}"'
        f' height="{2 * height}" rx="10" fill="{FILLS[kind]}"/>'
        f'<text class="state" x="{x}" y="{y}">{escape(state)}</text>'
    )


def _edge(source: State, target: State, words: str) -> tuple[str, str]:
    """Return the arrow from one box to another, bent to its right, and its label."""
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    if source is target:
        path = f"M{x1 - 20} {y1 + 22}C{x1 - 40} {y1 + 72} {x1 + 40} {y1 + 72} {x1 + 20} {y1 + 22}"
        return _arrow(path), _label(x1, y1 + 76, words)
    length = math.hypot(x2 - x1, y2 - y1)
    across = (-(y2 - y1) / length, (x2 - x1) / length)
    middle = ((x1 + x2) / 2 + across[0] * BEND, (y1 + y2) / 2 + across[1] * BEND)
    begin, end = _rim((x1, y1), middle), _rim((x2, y2), middle)
    path = (
        f"M{begin[0]:.0f} {begin[1]:.0f}Q{middle[0]:.0f} {middle[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    )
    t = LABEL_AT
    top = [
        (1 - t) ** 2 * a + 2 * t * (1 - t) * m + t**2 * b
        for a, m, b in zip(begin, middle, end, strict=True)
    ]
    return _arrow(path), _label(top[0], top[1], words)


def _rim(center: tuple[float, float], toward: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from a box's center leaves the box."""
    dx, dy = toward[0] - center[0], toward[1] - center[1]
    scale = min(HALF[0] / abs(dx) if dx else math.inf, HALF[1] / abs(dy) if dy else math.inf)
    return center[0] + dx * scale, center[1] + dy * scale


def _arrow(path: str) -> str:
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def _label(x: float, y: float, words: str) -> str:
    return f'<text class="trigger" x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'


def _table() -> Iterator[str]:
    """Yield the table itself: a row a state, a column a trigger, in each cell what follows."""
    left = 120
    for place, trigger in enumerate(Trigger):
        x = left + COLUMN * place + COLUMN // 2
        yield f'<text class="head" x="{x}" y="{TABLE_TOP}">{escape(trigger)}</text>'
    for number, state in enumerate(TRANSITIONS, start=1):
        y = TABLE_TOP + ROW * number
        yield f'<line x1="20" y1="{y - 17}" x2="{WIDTH - 20}" y2="{y - 17}"/>'
        yield f'<text class="row" x="24" y="{y}">{escape(state)}</text>'
        for place, trigger in enumerate(Trigger):
            following = TRANSITIONS[state].get(trigger)
            if following is not None:
                x = left + COLUMN * place + COLUMN // 2
                yield f'<text class="cell" x="{x}" y="{y}">{escape(following)}</text>'


def main() -> None:
    """Write the file."""
    FILE.write_text(draw())


if __name__ == "__main__":
    main()
