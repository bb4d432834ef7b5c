"""Starts in the benchmark's own process: timed as they are, phase by phase, and nothing left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

import harness
from arithmetic import ROUND
from harness import (
    PHASES,
    Fresh,
    Start,
    fleet_of,
    instances_for,
    machine_of,
    phases,
    run_loop,
)
from measure import own_directories
from programs import first_image


def test_the_product_has_every_phase() -> None:
    """A function that has moved is told, and not taken for one that costs nothing."""
    with phases() as spent:
        assert spent == {name: [] for name in PHASES}


def test_a_phase_that_has_moved_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one, and where it was looked for; and nothing is left replaced."""
    place = SimpleNamespace(__name__="site", there=lambda: 1)
    original = place.there
    moved = {"here": (place, "there"), "gone": (place, "away")}
    monkeypatch.setattr(harness, "PHASES", moved)
    with pytest.raises(LookupError, match="phase `gone`: there is no `away` in `site`"), phases():
        pass
    assert place.there is original


def test_phases_are_timed_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails as well."""
    place = SimpleNamespace(__name__="site", act=lambda number: 1 / number)
    original = place.act
    monkeypatch.setattr(harness, "PHASES", {"act": (place, "act")})
    with phases() as spent:
        assert place.act(2) == 0.5
        with pytest.raises(ZeroDivisionError):
            place.act(0)
    assert place.act is original
    assert len(spent["act"]) == 2
    assert min(spent["act"]) >= 0


def test_each_turn_has_one_that_does_not_count() -> None:
    """As many as there are turns, and lanes."""
    assert instances_for(1) == 2
    assert instances_for(2 * ROUND) == 2 * ROUND + 2
    assert instances_for(2 * ROUND + 1, width=3) == 2 * ROUND + 1 + 9
    assert instances_for(10, size=5) == 12


def test_what_went_wrong_comes_by_itself() -> None:
    """Not in the groups that nurseries make of it."""

    async def fail() -> None:
        async with trio.open_nursery() as nursery, trio.open_nursery():
            nursery.start_soon(trio.sleep_forever)
            raise ValueError(fail.__name__)

    with pytest.raises(ValueError, match="fail"):
        run_loop(fail)


@pytest.mark.root
@pytest.mark.native
@pytest.mark.parametrize("network", [True, False])
def test_a_start_is_timed_in_order(run_dir: Path, data_dir: Path, *, network: bool) -> None:
    """Its first instruction is before its end, and every phase is entered once a start."""
    with own_directories() as directory:
        fleet = fleet_of(first_image(directory), instances_for(3), network=network)
        starts: list[Start] = []

        async def take() -> None:
            starts.extend(await Fresh(machine).start(3))

        with machine_of(fleet) as machine, phases() as spent:
            run_loop(take)
    assert len(starts) == 3
    assert all(0 < one.first <= one.reaped and one.executed <= one.reaped for one in starts)
    assert {name: len(times) for name, times in spent.items()} == dict.fromkeys(PHASES, 4)
