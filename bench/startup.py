"""What copy-on-write buys: how long a container takes to start, by root strategy and image size.

From the wish for a container until its first instruction (a static program that reads the clock),
back to back and with gaps, with its files in the page cache and without. Beside it the C floor, in
the same run: what the kernel itself needs. Then what copy-on-write costs later, the first write to
a large file, and what each strategy has written to the disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import trio

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import InstanceId
from floor import floor_samples
from harness import Start, fleet_of, machine_of, phases, start_each
from measure import Results, say
from programs import LARGE_FILE, disk_usage, first_image, forget_pages, said, with_first

STRATEGIES: Final = ("overlay", "copy", "reflink", "bind")
SIZES: Final = (1, 30, 121)
"""MiB: one program, a slim image, and Debian's minbase."""

GAPS: Final = (0.0, 0.02)
COLD_STARTS: Final = 20
COPY_COUNT: Final = 20
"""A copy of 121 MiB takes a third of a second and as much disk."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--image", type=Path, action="append", help="a directory with a root")
    parser.add_argument("--count", type=int, default=100, help="starts of each kind")
    parser.add_argument("--concurrency", type=int, default=1, help="starts at a time")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="of the root")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Answer for every image and strategy."""
    wanted = options.strategies.split(",")
    images = {f"{size} MiB": first_image(directory, 0 if size == 1 else size) for size in SIZES}
    if options.image:
        images = {image.name: with_first(image.resolve(), directory) for image in options.image}
    for words, image in images.items():
        floor = _floor(results, image, directory, options.count, words)
        for strategy in wanted:
            count = options.count if strategy in {"overlay", "bind"} else COPY_COUNT
            say(f"image of {words}, {strategy}: {count} starts")
            try:
                _strategy(results, image, strategy, count, options.concurrency, words, floor)
            except HostError as error:
                results.figure(f"{strategy}, not possible here", 0, str(error), image=words)
        _unpack(results, image, directory, words)
    _first_writes(results, list(images.items())[-1], wanted)


def _floor(
    results: Results, image: Path, directory: Path, count: int, words: str
) -> dict[bool, float]:
    """The floor's medians in milliseconds, with a network namespace and without."""
    medians: dict[bool, float] = {}
    for network in (True, False):
        for gap in GAPS:
            floors = floor_samples(image, directory, count, gap, network=network)
            named = "with a network namespace" if network else "without"
            p50 = results.samples(
                f"C floor {named}: first instruction",
                [first for first, _ in floors],
                image=words,
                gap_ms=gap * 1000,
                strategy="floor",
            )
            medians[network] = min(medians.get(network, p50), p50)
    return medians


def _strategy(
    results: Results,
    image: Path,
    strategy: str,
    count: int,
    width: int,
    words: str,
    floor: dict[bool, float],
) -> None:
    facts = {"image": words, "strategy": strategy, "concurrency": width}
    for network in (True, False):
        named = "with network and address" if network else "without network"
        for gap in GAPS:
            starts, spent, written = _starts(image, strategy, count, width, gap, network=network)
            firsts = [one.first for one in starts]
            p50 = results.samples(
                f"{strategy} {named}: first instruction",
                firsts,
                gap_ms=gap * 1000,
                ratio_to_floor=round(median(firsts) * 1000 / floor[network], 2),
                written_kib=written // 1024,
                **facts,
            )
            results.samples(
                f"{strategy} {named}: reaped",
                [one.reaped for one in starts],
                gap_ms=gap * 1000,
                **facts,
            )
            say(f"  {named}, gap {gap * 1000:.0f} ms: p50 {p50:.2f} ms")
        for phase, samples in spent.items():
            if samples:
                results.samples(f"{strategy} {named}: phase {phase}", samples, **facts)
    _cold(results, image, strategy, facts)


def _starts(
    image: Path, strategy: str, count: int, width: int, gap: float, *, network: bool
) -> tuple[list[Start], dict[str, list[float]], int]:
    """Start new containers; also where the time went, and bytes on disk for each."""
    fleet = fleet_of(image, count, root=strategy, network=network)
    several = [InstanceId("one", number) for number in range(1, count + 1)]
    with machine_of(fleet) as machine, phases() as spent:
        starts = trio.run(_started, machine, several, width, gap)
        written = disk_usage(machine.site.writable) // count
    return starts, spent, written


async def _started(
    machine: object, several: Sequence[InstanceId], width: int, gap: float
) -> list[Start]:
    return await start_each(machine, several, width=width, gap=gap)  # type: ignore[arg-type]


def _cold(results: Results, image: Path, strategy: str, facts: dict[str, object]) -> None:
    """Starts whose image has to be read from the disk."""
    fleet = fleet_of(image, COLD_STARTS, root=strategy, network=False)
    starts: list[Start] = []
    with machine_of(fleet) as machine:
        for number in range(1, COLD_STARTS + 1):
            forget_pages(image)
            starts += trio.run(_started, machine, [InstanceId("one", number)], 1, 0.0)
    samples = [one.first for one in starts]
    results.samples(
        f"{strategy} without network, cold page cache: first instruction", samples, **facts
    )


def _unpack(results: Results, image: Path, directory: Path, words: str) -> None:
    """What a start takes that unpacks a tar each time, as this project's first version did."""
    archive = directory / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(image, ".")
    samples = []
    for number in range(3):
        target = directory / f"unpacked-{number}"
        begun = time.perf_counter()
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="tar")
        samples.append(time.perf_counter() - begun)
        shutil.rmtree(target)
    archive.unlink()
    results.samples("unpacking a tar of it", samples, image=words, strategy="unpack")


def _first_writes(results: Results, image: tuple[str, Path], wanted: Sequence[str]) -> None:
    """The price of copy-on-write, paid by who writes first: a byte in a file of 64 MiB."""
    words, place = image
    if not (place / LARGE_FILE).exists():
        return
    for strategy in wanted:
        if strategy == "bind":  # read-only
            continue
        writer = ("/first", "write", f"/{LARGE_FILE}")
        fleet = fleet_of(place, 10, root=strategy, network=False, command=writer)
        several = [InstanceId("one", number) for number in range(1, 11)]
        try:
            with machine_of(fleet) as machine:
                trio.run(_started, machine, several, 1, 0.0)
                samples = [int(said(fleet.name, str(one))[-1]) / 1e9 for one in several]
        except HostError:
            continue
        results.samples(
            f"{strategy}: first write to a file of {os.stat(place / LARGE_FILE).st_size >> 20} MiB",
            samples,
            image=words,
            strategy=strategy,
        )
