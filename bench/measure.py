"""What every benchmark shares: places of its own, percentiles, results as JSON lines."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO, final

from attrs import define, field

from anchor_supervisor.observability import places

RESULTS: Final = "results.jsonl"
RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Milliseconds at p50, p95, p99 and at worst, of samples in seconds (nearest rank)."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    return {name: round(ordered[round(last * rank)] * 1000, 3) for name, rank in RANKS.items()}


@final
@define
class Results:
    """Takes figures, and gives each at once as a JSON line: to a person, and to a file.

    `question` groups what belongs in one table. The first line tells of the machine.
    """

    question: str
    out: Path | None = None
    records: list[Mapping[str, Any]] = field(factory=list, init=False)
    _file: TextIO | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the file, behind what other benchmarks have written there."""
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            self._file = (self.out / RESULTS).open("a")
        self._tell({"question": self.question, "machine": machine()})

    def samples(self, what: str, samples: Sequence[float], **facts: object) -> float:
        """Tell the percentiles of samples in seconds; return the median in milliseconds."""
        figures = percentiles(samples)
        self._tell({"what": what, "n": len(samples), "unit": "ms", **figures, **facts})
        return figures["p50"]

    def figure(self, what: str, value: float, unit: str, **facts: object) -> None:
        """Tell a single figure."""
        self._tell({"what": what, "value": round(value, 3), "unit": unit, **facts})

    def _tell(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        line = json.dumps({"question": self.question, **record})
        print(line, flush=True)
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def machine() -> dict[str, object]:
    """What the figures were taken on, and when."""
    return {
        "kernel": platform.release(),
        "processor": _first(Path("/proc/cpuinfo"), "model name"),
        "cpus": os.cpu_count(),
        "memory": _first(Path("/proc/meminfo"), "MemTotal"),
        "python": platform.python_version(),
        "file_system": _file_system(Path(tempfile.gettempdir())),
        "load": round(os.getloadavg()[0], 2),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _first(file: Path, key: str) -> str | None:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _file_system(place: Path) -> str | None:
    """The type of the file system that holds a directory: the longest mount point above it."""
    best, kind = "", None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4]
        if place.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


@contextmanager
def own_directories() -> Iterator[Path]:
    """Keep apart from everything else on the machine, and leave nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="anchor-bench-") as data,
        tempfile.TemporaryDirectory(prefix="anchor-bench-", dir="/dev/shm") as run,  # as /run is
    ):
        os.environ[places.RUN_DIR_VARIABLE] = run
        os.environ[places.DATA_DIR_VARIABLE] = data
        Path(data).chmod(0o755)  # an image in it is read by the peers' containers too
        yield Path(data)


def say(words: str) -> None:
    """Tell a person who waits what is going on."""
    print(words, file=sys.stderr, flush=True)
