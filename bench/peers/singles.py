"""One container of one program: the whole command, and until its first instruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from anchor_supervisor.fleet.model import InstanceId
from arithmetic import all_of, ratio, rounds
from floor import floor_samples
from harness import Start, fleet_of, machine_of, run_loop, start_each
from measure import say
from peers.party import Party
from peers.starts import CommandError, Engine, each

GAPS: Final = (0.0, 0.02)
TURN: Final = 10
"""Containers of one engine before it is the next one's turn."""

OURS: Final = "all namespaces, user among them; copy-on-write; cgroup; seccomp; address on a bridge"
C_FLOOR: Final = {
    "who": "C floor",
    "peer": "C floor",
    "until": "reaped",
    "isolation": "all namespaces but user; copy-on-write; cgroup; seccomp; no address",
    "network": False,
}
FLEET: Final = {
    "who": "anchor, in a running fleet",
    "peer": "anchor, in a running fleet",
    "until": "reaped",
    "isolation": OURS,
    "network": True,
}
"""Beside figures of ours for which no command was begun."""


@frozen
class Told:
    """The rounds of one of those who take turns: until the first instruction, and the whole."""

    first: list[list[float]] = field(factory=list)
    whole: list[list[float]] = field(factory=list)


def tell(party: Party) -> None:
    """Ask everybody, back to back and with gaps."""
    for gap in GAPS:
        _tell(party, gap)


def _tell(party: Party, gap: float) -> None:
    floor, fleet = Told(), Told()
    told = {one: Told() for one in party.engines}
    asked = 0
    for number in rounds(party.options.count, TURN):
        pairs = floor_samples(party.image, party.place.directory, number, gap)
        floor.first.append([first for first, _ in pairs])
        floor.whole.append([reaped for _, reaped in pairs])
        if party.wanted("anchor"):
            starts = _in_fleet(party, number, gap)
            fleet.first.append([one.first for one in starts])
            fleet.whole.append([one.reaped for one in starts])
        for one in list(told):
            names = [
                party.name(one, f"one{gap * 1000:.0f}", asked + each) for each in range(number)
            ]
            try:
                samples = each(one, party.place, names, gap)
            except CommandError as failed:
                party.missing(f"{one.name}, {number} containers in turn", failed)
                told.pop(one)
                continue
            told[one].first.append([sample.first for sample in samples])
            told[one].whole.append([sample.whole for sample in samples])
        asked += number
        say(f"{asked} of {party.options.count} each, with gaps of {gap * 1000:.0f} ms")
    facts = {"gap_ms": gap * 1000}
    _figures(party, "C floor", {**facts, **C_FLOOR}, floor, None)
    if fleet.first:
        _figures(party, str(FLEET["peer"]), {**facts, **FLEET}, fleet, floor)
    for one, its in told.items():
        _figures(party, one.name, {**facts, **facts_of(one)}, its, floor)


def facts_of(engine: Engine) -> dict[str, Any]:
    """What belongs beside each figure of an engine."""
    return {
        "who": engine.name,
        "peer": engine.peer,
        "version": engine.version,
        "isolation": engine.isolation,
        "network": engine.network,
    }


def _figures(
    party: Party, name: str, facts: Mapping[str, Any], told: Told, floor: Told | None
) -> None:
    """Tell both, with their ratios to the floor; `one` is what the picture shows."""
    whole = "whole" if facts["gap_ms"] else "one"
    least = floor or told
    for words, measured, ours, beside in (
        (facts.get("until", "whole command"), whole, told.whole, least.whole),
        ("first instruction", "first", told.first, least.first),
    ):
        more: dict[str, Any] = {"measured": measured, **facts}
        if floor is not None:
            more["ratio_to_floor"] = ratio(ours, beside)
        party.results.samples(f"{name}: {words}", all_of(ours), **more)


def _in_fleet(party: Party, count: int, gap: float) -> list[Start]:
    """Start containers where a supervisor runs already: no command is begun."""
    starts: list[Start] = []

    async def start() -> None:
        starts.extend(await start_each(machine, several, gap=gap))

    several = [InstanceId("one", number) for number in range(1, count + 2)]
    with machine_of(fleet_of(party.image, count + 1)) as machine:
        run_loop(start)
    return starts[1:]  # the first of each turn fills the caches, as the floor's does
