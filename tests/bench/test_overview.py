"""Peers side by side: which figure stands where, and what is not there."""

from __future__ import annotations

from overview import overview
from records import Record


def figure(who: str, measured: str, **facts: object) -> Record:
    """A figure of somebody."""
    return {"what": f"{who}: {measured}", "who": who, "measured": measured, **facts}


def test_everybody_has_a_row_and_every_figure_its_column() -> None:
    """What nobody has is no column; what one has not is an empty cell."""
    records = [
        figure("C floor", "first", p50=2.0, gap_ms=0.0),
        figure("bwrap", "one", p50=4.54, gap_ms=0.0, version="0.8.0"),
        figure("bwrap", "first", p50=4.0, gap_ms=0.0, ratio_to_floor=2.0, version="0.8.0"),
        figure("bwrap", "first", p50=5.0, gap_ms=20.0, ratio_to_floor=2.5),
        figure("bwrap", "started", value=4.1, width=1),
        figure("bwrap", "started", value=2.4, width=4),
        figure("bwrap", "beside", value=1237.4),
        {"what": "docker", "missing": "not installed"},
    ]
    assert list(overview(records)) == [
        (
            "\n| p50 | whole command, ms | first instruction, ms | x floor | with gaps, ms |"
            " many, ms each | 4 at a time, ms each | memory beside, KiB |"
        ),
        "|---|---|---|---|---|---|---|---|",
        "| C floor |  | 2.0 | 1 |  |  |  |  |",
        "| bwrap 0.8.0 | 4.5 | 4.0 | 2.00 | 5.0 | 4.1 | 2.4 | 1,237 |",
    ]


def test_stacks_are_in_seconds_by_their_size() -> None:
    """And restarts are a table of their own."""
    records = [
        figure("compose", "up", p50=2500.0, size=50, version="2 on docker 20"),
        figure("compose", "up", p50=1200.0, size=10, version="2 on docker 20"),
        figure("compose", "down", p50=900.0, size=10),
        figure("podman", "restart", p50=88.06, version="4.3.1"),
    ]
    assert list(overview(records)) == [
        "\n| p50 | 10 services up, s | 10 services down, s | 50 services up, s |",
        "|---|---|---|---|",
        "| compose 2 on docker 20 | 1.20 | 0.90 | 2.50 |",
        "\n| p50 | crash to the next first instruction, ms |",
        "|---|---|",
        "| podman 4.3.1 | 88.1 |",
    ]


def test_nothing_measured_is_nothing_told() -> None:
    """No heads without rows."""
    assert list(overview([{"what": "docker", "missing": "not installed"}])) == []
