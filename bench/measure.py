"""What every benchmark shares: places of its own, percentiles, results as JSON lines."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from anchor_supervisor.observability import places


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Milliseconds at p50, p95, p99 and at worst, of samples in seconds (nearest rank)."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(last * rank)] * 1000, 2) for name, rank in ranks.items()}


def report(what: str, samples: Sequence[float]) -> float:
    """Print one result; return its median in milliseconds."""
    figures = percentiles(samples)
    print(json.dumps({"what": what, "n": len(samples), **figures}), flush=True)
    return figures["p50"]


def report_ratio(what: str, ratio: float) -> None:
    """Print how two results compare."""
    print(json.dumps({"what": what, "ratio": round(ratio, 2)}), flush=True)


def report_machine() -> None:
    """Print what the figures were taken on."""
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "python": sys.version[:6]}
    print(json.dumps({"machine": machine}), flush=True)


@contextmanager
def own_directories() -> Iterator[Path]:
    """Keep apart from everything else on the machine, and leave nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="anchor-bench-") as data,
        tempfile.TemporaryDirectory(prefix="anchor-bench-", dir="/dev/shm") as run,  # as /run is
    ):
        os.environ[places.RUN_DIR_VARIABLE] = run
        os.environ[places.DATA_DIR_VARIABLE] = data
        yield Path(data)
