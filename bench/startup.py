"""What copy-on-write buys: how long a container takes to start, by root strategy and image size.

From the wish for a container until its first instruction (a static program that reads the clock)
and until its end is reaped, back to back and with gaps, with the image in the page cache and
without. Beside it the C floor, which takes turns with it: what the kernel itself needs. Then what
the roots cost otherwise: disk, memory, and what copy-on-write takes later, the first write to a
large file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import evolve

from anchor_supervisor.errors import HostError
from arithmetic import all_of, ratio, rounds
from cow_costs import cold_starts, first_writes, memory_each, unpackings
from harness import Fresh, fleet_of, instances_for, machine_of, run_loop
from images import add_image_options, chosen_images, data_in, sharing_place, size_in_mib
from measure import Results, say
from options import Default, add_option, count, words
from taken import Kind, Taken, rest, starts

STRATEGIES: Final = ("overlay", "copy", "reflink", "bind")
COPYING: Final = frozenset({"copy", "reflink"})
GAPS: Final = (0.0, 0.02)
SMALL_ROUND: Final = 5
"""Where a tenth of a difference counts, the turns are short."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    add_image_options(parser, Default((1, 30, 121), (1, 121)))
    add_option(parser, "--count", count("--count", 1000), Default(100, 20), "starts of each kind")
    copies = count("--copies", 100)
    add_option(parser, "--copies", copies, Default(20, 2), "the same, where each is a whole copy")
    width = count("--concurrency", 64)
    add_option(parser, "--concurrency", width, Default(1, 1), "starts at a time")
    chosen = words("--strategies", STRATEGIES)
    add_option(parser, "--strategies", chosen, Default(STRATEGIES, STRATEGIES), "of the root")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Answer for every image and strategy."""
    images = chosen_images(options.sizes, options.image, results, directory)
    for called, image in images.items():
        mib = size_in_mib(image)
        medians: dict[str, float] = {}
        floors: dict[tuple[bool, float], Taken] = {}
        for strategy in options.strategies:
            number = options.copies if strategy in COPYING else options.count
            kind = Kind(called, image, strategy, number, options.concurrency, mib)
            say(f"{called}, {strategy}: {number} starts of each kind")
            os.sync()  # what the last one has copied is not to be written while this one is timed
            try:
                with _image_for(kind, directory) as (kind_here, place):
                    medians[strategy] = _strategy(results, kind_here, place, floors)
            except HostError as error:
                results.missing(strategy, error.message, image=called, strategy=strategy)
        _tell_floors(results, floors, called, mib)
        unpacked = unpackings(image, directory)
        medians["unpacking a tar"] = results.samples(
            "unpacking a tar of it", unpacked, image=called, mib=mib, strategy="unpack"
        )
        _tell_ratios(results, medians, called, mib)
    _independence(results, images, options.count)
    first_writes(results, images, options.strategies)


@contextmanager
def _image_for(kind: Kind, directory: Path) -> Iterator[tuple[Kind, Path]]:
    """Give the kind with its image where its strategy can work, and a place to work in."""
    if kind.strategy != "reflink":
        yield kind, directory
        return
    with sharing_place(directory) as place, data_in(place, kind.image) as image:
        yield evolve(kind, image=image), place


def _strategy(
    results: Results, kind: Kind, directory: Path, floors: dict[tuple[bool, float], Taken]
) -> float:
    """Tell everything of one strategy; return the median without network, in milliseconds."""
    without = 0.0
    for network in (True, False):
        for gap in GAPS:
            one = evolve(kind, network=network, gap=gap)
            taken = starts(one, directory)
            p50 = _tell_starts(results, one, taken)
            without = p50 if (network, gap) == (False, GAPS[0]) else without
            floors.setdefault((network, gap), Taken()).floors.extend(taken.floors)
            if gap == GAPS[0]:
                _tell_phases(results, one, taken)
    if kind.strategy == "overlay":
        for gap in GAPS:
            one = evolve(kind, gap=gap, ready=True)
            _tell_starts(results, one, starts(one, directory))
    cold = cold_starts(kind.image, kind.strategy, min(kind.count, 20))
    results.samples(
        f"{kind.strategy} without network, cold page cache: first instruction",
        cold,
        point="first",
        cache="cold",
        **{**kind.facts, "network": False},
    )
    memory_each(results, kind.image, kind.strategy, kind.facts, few=kind.strategy in COPYING)
    return without


def _tell_starts(results: Results, kind: Kind, taken: Taken) -> float:
    firsts = taken.firsts()
    facts = {"gap_ms": kind.gap * 1000, "cache": "warm", **kind.facts}
    p50 = results.samples(
        f"{kind.named}: first instruction",
        all_of(firsts),
        point="first",
        ratio_to_floor=ratio(firsts, taken.floor(0)),
        written_kib=taken.written[0] // 1024,
        **facts,
    )
    results.samples(
        f"{kind.named}: reaped",
        all_of(taken.reaped()),
        point="reaped",
        ratio_to_floor=ratio(taken.reaped(), taken.floor(1)),
        **facts,
    )
    return p50


def _tell_phases(results: Results, kind: Kind, taken: Taken) -> None:
    """Tell where the time went until the command was executed, and after it."""
    executed = [one.executed for turn in taken.starts for one in turn]
    spent = {phase: samples for phase, samples in taken.spent.items() if samples}
    for phase, samples in spent.items():
        named = f"{kind.named}: phase {phase}"
        results.samples(named, samples, keep=False, phase=phase, **kind.facts)
    results.figure(
        f"{kind.named}: the rest until it is executed",
        rest(executed, list(spent.values())) * 1000,
        "ms",
        phase="rest",
        **kind.facts,
    )


def _tell_floors(
    results: Results, floors: dict[tuple[bool, float], Taken], called: str, mib: int
) -> None:
    for (network, gap), taken in floors.items():
        named = "with a network namespace" if network else "without network"
        for place, point in enumerate(("first", "reaped")):
            results.samples(
                f"C floor {named}: {'first instruction' if point == 'first' else point}",
                all_of(taken.floor(place)),
                image=called,
                mib=mib,
                strategy="floor",
                network=network,
                gap_ms=gap * 1000,
                point=point,
                cache="warm",
            )


def _tell_ratios(results: Results, medians: dict[str, float], called: str, mib: int) -> None:
    """Tell what copy-on-write buys: how many times as long the others take."""
    overlay = medians.pop("overlay", None)
    for other, p50 in medians.items():
        if overlay is not None and other != "bind":
            results.figure(
                f"{other}, to overlay", p50 / overlay, "times", image=called, mib=mib, versus=other
            )


def _independence(results: Results, images: dict[str, Path], number: int) -> None:
    """Tell how much longer overlay takes with the largest image than with the smallest."""
    by_size = sorted(images, key=lambda called: size_in_mib(images[called]))
    if len(by_size) < len(("smallest", "largest")):
        return
    named = (by_size[0], by_size[-1])
    say(f"overlay, {named[0]} and {named[1]} in turns")
    fleets = [
        fleet_of(
            images[called],
            instances_for(number, size=SMALL_ROUND),
            network=False,
            name=f"bench-{place}",
        )
        for place, called in enumerate(named)
    ]
    turns: tuple[list[list[float]], list[list[float]]] = ([], [])

    async def take_turns() -> None:
        both = (Fresh(small), Fresh(large))
        for share in rounds(number, SMALL_ROUND):
            for taken, fresh in zip(turns, both, strict=True):
                taken.append([one.first for one in await fresh.start(share)])

    with machine_of(fleets[0]) as small, machine_of(fleets[1]) as large:
        run_loop(take_turns)
    results.figure(
        f"overlay, {named[1]} to {named[0]}", ratio(turns[1], turns[0]), "times", independence=True
    )
