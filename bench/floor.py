"""The C floor: the same container made by a C program that does only what the kernel must do."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from programs import compile_native

_numbers = itertools.count()


def floor_samples(
    image: Path,
    directory: Path,
    count: int,
    gap: float = 0.0,
    *,
    network: bool = True,
    cow: bool = True,
) -> list[tuple[float, float]]:
    """Make `count` containers; return for each the seconds until its first instruction and its end.

    `image` holds `/first`. Raises CalledProcessError with what went wrong on standard error.
    """
    program = compile_native("floor", directory)
    work = directory / f"floor-{next(_numbers)}"
    work.mkdir()
    cgroup = Cgroup(find_mount() / f"anchor-floor-{directory.name}")
    cgroup.create()
    try:
        words = [image, work, cgroup.path, count, round(gap * 1000)]
        kinds = ["cow" if cow else "bind", "net" if network else "nonet"]
        done = subprocess.run(
            [str(program), *map(str, words), *kinds], check=True, capture_output=True, text=True
        )
    finally:
        cgroup.remove()
        shutil.rmtree(work)
    pairs = (line.split() for line in done.stdout.splitlines())
    return [(int(first) / 1e9, int(reaped) / 1e9) for first, reaped in pairs]
