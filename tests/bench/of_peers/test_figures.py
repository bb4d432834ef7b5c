"""What is told of single containers and of many: which figures, with which facts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from measure import Results
from peers import crowds, singles
from peers.corner import Corner
from peers.party import Party
from peers.starts import Engine

SAYS = "echo 12345678901"


def engine(name: str, *, fails: bool = False) -> Engine:
    """An engine whose containers are shells."""

    def end(names: Sequence[str]) -> list[list[str]]:
        return [["true", *names]]

    last = "; echo broken >&2; exit 1" if fails else ""
    argv = ["sh", "-c", f"{SAYS}{last}"]
    return Engine(name, "p", "1.2", "none", True, lambda _: argv, lambda _: argv, end)


def party(place: Corner, count: int, *engines: Engine) -> Party:
    """These alone, and none of ours."""
    options = argparse.Namespace(only=("process",), with_dockerd=False, count=count)
    made = Party(options, Results("peers"), place, Path("/image"))
    made.engines = list(engines)
    return made


def told(who: Party) -> dict[str, Mapping[str, Any]]:
    """Each figure by its words and its gap."""
    records = [one for one in who.results.records if "what" in one]
    return {f"{one['what']} {one.get('gap_ms', '')}".strip(): one for one in records}


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that needs 10 ms until the first instruction, and 20 until the end."""

    def samples(_: Path, __: Path, count: int, ___: float) -> list[tuple[float, float]]:
        return [(0.01, 0.02)] * count

    monkeypatch.setattr(singles, "floor_samples", samples)


@pytest.mark.usefixtures("floor")
def test_whole_commands_and_first_instructions_are_told(place: Corner) -> None:
    """Each beside what the kernel needs for the same; one figure is for the picture."""
    here = party(place, 12, engine("a shell"))
    singles.tell(here)
    figures = told(here)
    whole = figures["a shell: whole command 0.0"]
    assert whole["n"] == 12
    assert whole["peer"] == "p"
    assert whole["version"] == "1.2"
    assert whole["isolation"] == "none"
    assert whole["network"] is True
    assert 0 < whole["ratio_to_floor"] <= round(whole["max"] / 20, 2) + 0.01
    assert whole["measured"] == "one"
    assert figures["a shell: whole command 20.0"]["measured"] == "whole"
    assert figures["a shell: first instruction 20.0"]["measured"] == "first"
    assert figures["C floor: reaped 0.0"]["p50"] == 20
    assert figures["C floor: first instruction 0.0"]["p50"] == 10
    assert "ratio_to_floor" not in figures["C floor: reaped 0.0"]


@pytest.mark.usefixtures("floor")
def test_who_fails_on_the_way_has_no_figure_but_a_reason(place: Corner) -> None:
    """The others have theirs."""
    here = party(place, 2, engine("bad", fails=True), engine("good"))
    singles.tell(here)
    figures = told(here)
    assert figures["bad, 2 containers in turn"]["missing"] == "broken"
    assert "bad: whole command 0.0" not in figures
    assert figures["good: whole command 0.0"]["n"] == 2


def test_many_are_told_for_each_and_as_a_rate(place: Corner) -> None:
    """Started in both ways, ended, and weighed."""
    here = party(place, 3, engine("a shell"))
    crowds.tell(here)
    figures = told(here)
    started = figures["a shell: 3 containers started, one after the other"]
    assert (started["unit"], started["measured"], started["size"]) == ("ms each", "started", 3)
    assert figures["a shell: 3 containers ended"]["measured"] == "ended"
    assert figures["a shell: memory beside each of 3 containers"]["value"] == 0
    rates = [one for one in here.results.records if one.get("measured") == "rate"]
    (rate,) = rates
    assert rate["unit"] == "a second"
    assert rate["value"] > 0
    assert rate["size"] == 3


def test_many_of_one_who_fails_are_a_reason(place: Corner) -> None:
    """Once: what cannot be done one after the other is not tried at the same time."""
    here = party(place, 2, engine("bad", fails=True))
    crowds.tell(here)
    (only,) = told(here).values()
    assert only["what"] == "bad: containers, one after the other"
    assert only["missing"] == "broken"
