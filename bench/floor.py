"""The C floor: the same container made by a C program that does only what the kernel must do."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from anchor_supervisor.runtime.limits import end_cgroup
from programs import compile_native

WARM_UP: Final = 1
"""The first of each turn finds the processor's caches full of what others did: not counted."""

_numbers = itertools.count()


def floor_samples(
    image: Path,
    directory: Path,
    count: int,
    gap: float = 0.0,
    *,
    network: bool = True,
    cow: bool = True,
    width: int = 1,
) -> list[tuple[float, float]]:
    """Make `count` containers; return for each the seconds until its first instruction and its end.

    `image` holds `/first`; `width`: so many at a time. Raises HostError where the kernel refuses.
    """
    program = compile_native("floor", directory)
    work = directory / f"floor-{next(_numbers)}"
    cgroup = Cgroup(find_mount() / f"anchor-floor-{os.getpid()}")
    cgroup.create()
    try:
        lanes = []
        for lane in range(width):
            share = count // width + (lane < count % width) + WARM_UP
            place = work / str(lane)
            place.mkdir(parents=True)
            words = [image, place, cgroup.path, share, round(gap * 1000)]
            kinds = ["cow" if cow else "bind", "net" if network else "nonet"]
            lanes.append([str(program), *map(str, words), *kinds])
        return [pair for told in _together(lanes) for pair in told[WARM_UP:]]
    finally:
        end_cgroup(cgroup)
        shutil.rmtree(work, ignore_errors=True)


def floor_rate(image: Path, directory: Path, count: int, *, network: bool, width: int) -> float:
    """Containers a second, `width` at a time, each from the decision until it was reaped."""
    compile_native("floor", directory)
    begun = time.perf_counter()
    floor_samples(image, directory, count, network=network, width=width)
    return (count + width * WARM_UP) / (time.perf_counter() - begun)


def _together(lanes: list[list[str]]) -> list[list[tuple[float, float]]]:
    """Run them at the same time; return what each told, a pair a line."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for argv in lanes:
            piped = subprocess.PIPE
            processes.append(subprocess.Popen(argv, stdout=piped, stderr=piped, text=True))
        told = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, complaint) in zip(processes, told, strict=True):
        if process.returncode != 0:
            message = f"the floor cannot be measured: {complaint.strip() or 'killed'}"
            raise HostError(message)
    return [[_pair(line) for line in out.splitlines()] for out, _ in told]


def _pair(line: str) -> tuple[float, float]:
    first, reaped = line.split()
    return int(first) / 1e9, int(reaped) / 1e9
