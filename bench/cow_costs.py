"""What a root costs beside the usual start: from a cold disk, in memory, at the first write."""

from __future__ import annotations

import shutil
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import instances
from harness import Fresh, fleet_of, machine_of, run_loop, start_each
from images import data_in, largest_file, sharing_place
from measure import Results, say
from memory_use import InUse, in_use, own_size
from page_cache import forget_pages
from programs import MIB, said

UNPACKINGS: Final = 3
WRITES: Final = 10
MANY: Final = 20
FEW: Final = 3
"""Containers at once whose memory is looked at; few, where each is a whole copy."""


def cold_starts(image: Path, strategy: str, number: int) -> list[float]:
    """Seconds to the first instruction where the image has to be read from the disk each time."""
    fleet = fleet_of(image, number, root=strategy, network=False)
    samples: list[float] = []

    async def start_cold() -> None:
        for instance in instances(fleet):
            forget_pages(image)
            samples.extend(one.first for one in await start_each(machine, [instance]))

    with machine_of(fleet) as machine:
        run_loop(start_cold)
    return samples


def unpackings(image: Path, directory: Path) -> list[float]:
    """Seconds that unpacking a tar of the image takes, as this project's first version did."""
    archive = directory / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(image, ".")
    samples = []
    for number in range(UNPACKINGS):
        target = directory / f"unpacked-{number}"
        begun = time.perf_counter()
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="tar")
        samples.append(time.perf_counter() - begun)
        shutil.rmtree(target)
    archive.unlink()
    return samples


def memory_each(
    results: Results, image: Path, strategy: str, facts: dict[str, Any], *, few: bool
) -> None:
    """Tell what of the machine's memory one more container takes that runs, with its network."""
    number = FEW if few else MANY
    fleet = fleet_of(image, number + 1, root=strategy, command=("/first", "wait"))
    looks: list[tuple[InUse, int]] = []

    async def look() -> None:
        first, *others = instances(fleet)
        await machine.start(first)  # what there is once, however many containers
        looks.append((in_use(), own_size()))
        for one in others:
            await machine.start(one)
        looks.append((in_use(), own_size()))

    with machine_of(fleet) as machine:
        run_loop(look)
    (before, own_before), (after, own_after) = looks
    more = after.since(before)
    results.figure(
        f"{strategy}: memory of a container",
        more.total / number,
        "KiB",
        memory="container",
        slab_kib=round(more.slab / number),
        processes_kib=round((more.processes - own_after + own_before) / number),
        supervisor_kib=round((own_after - own_before) / number, 1),
        files_kib=round(more.files / number),
        n=number,
        **facts,
    )


def first_writes(results: Results, images: dict[str, Path], wanted: Sequence[str]) -> None:
    """Tell the price of copy-on-write, paid by who writes first: a byte in the largest file."""
    (size, file), words = max((largest_file(image), words) for words, image in images.items())
    if size < MIB:
        results.missing("first write", "no image has a file of a MiB or more")
        return
    for strategy in wanted:
        if strategy == "bind":  # read-only
            continue
        say(f"{strategy}: first writes to {file} of {words}")
        try:
            samples = _writes(images[words], strategy, file)
        except HostError as error:
            results.missing(f"{strategy}: first write", error.message, strategy=strategy)
            continue
        results.samples(
            f"{strategy}: first write to a file of {size / MIB:.0f} MiB",
            samples,
            image=words,
            strategy=strategy,
            first_write=True,
        )


def _writes(image: Path, strategy: str, file: Path) -> list[float]:
    if strategy != "reflink":
        return _written(image, strategy, file)
    with sharing_place(image.parent) as place, data_in(place, image) as copy:
        return _written(copy, strategy, file)


def _written(image: Path, strategy: str, file: Path) -> list[float]:
    writer = ("/first", "write", f"/{file}")
    fleet = fleet_of(image, WRITES, root=strategy, network=False, command=writer)

    async def write() -> None:
        await Fresh(machine).start(WRITES)

    names = [str(one) for one in instances(fleet)]
    before = [len(said(fleet.name, name)) for name in names]
    with machine_of(fleet) as machine:
        run_loop(write)
        lines = [said(fleet.name, name) for name in names]
    # The time that it began, and what the write took: without the second it was refused.
    if any(len(now) != number + 2 for now, number in zip(lines, before, strict=True)):
        message = f"`/{file}` cannot be written to"
        raise HostError(message)
    return [int(now[-1]) / 1e9 for now in lines]
