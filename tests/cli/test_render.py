"""How facts look."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.cli import render

PRESENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0ms"),
        (0.32, "320ms"),
        (5, "5s"),
        (5.25, "5.2s"),
        (59.6, "1m"),
        (61, "1m1s"),
        (3600, "1h"),
        (3660, "1h1m"),
        (90061, "1d1h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """The two largest units that matter."""
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (64 << 20, "64M"), (3 << 29, "1.5G"), (1 << 40, "1T")],
)
def test_sizes(count: int, text: str) -> None:
    """As the fleet file writes them."""
    assert render.size(count) == text


def test_times() -> None:
    """Ago, until, and now when a time has passed."""
    assert render.ago("2026-01-02T03:04:00.000Z", PRESENT) == "5s"
    assert render.ago(None, PRESENT) == "-"
    assert render.until("2026-01-02T03:04:06.500Z", PRESENT) == "in 1.5s"
    assert render.until("2026-01-02T03:04:04.000Z", PRESENT) == "now"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ((0, None, None), "exited (0)"),
        ((None, 15, None), "killed by SIGTERM"),
        ((None, 99, None), "killed by signal 99"),
        ((None, 9, "oom (limit 64M, peak 64M)"), "oom (limit 64M, peak 64M)"),
        ((None, None, None), "ended, nobody saw how"),
    ],
)
def test_exits(status: tuple[int | None, int | None, str | None], text: str) -> None:
    """Signals have names, and an out-of-memory kill its own words."""
    assert render.exit_words(*status) == text


CELL = st.text("ab ", max_size=6) | st.tuples(st.text("ab", max_size=6), st.just("31"))


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=5), st.integers(0, 20), st.booleans())
def test_colour_changes_no_character(
    rows: list[tuple[render.Cell, ...]], width: int, color: bool
) -> None:
    """A table is the same text with colour and without, and never wider than the terminal."""
    plain = render.table(("A", "B", "C"), rows, render.Paint(color=False), width)
    painted = render.table(("A", "B", "C"), rows, render.Paint(color=color), width)
    assert re.sub(r"\x1b\[[0-9]*m", "", painted) == plain
    assert "\x1b" not in plain
    if width:
        assert all(len(line) <= width for line in plain.splitlines())


def test_columns_are_aligned() -> None:
    """Every column begins where its header does."""
    text = render.table(("ONE", "TWO"), [("a", "b"), ("longer", "c")], render.Paint(color=False), 0)
    assert text == "ONE     TWO\na       b\nlonger  c"
