"""What every question shares: results as JSON lines, places of its own, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO, final

from attrs import define, field

from anchor_supervisor.observability import places
from arithmetic import RANKS, percentiles
from host_facts import machine
from programs import command

RESULTS: Final = "results.jsonl"
SWEEP_PATIENCE: Final = 120.0  # seconds for what a question that broke off has left

COMPLETE: Final = "complete"


@final
@define
class Results:
    """Takes figures, and gives each at once: a line to a person, a JSON line to a file.

    `question` groups what belongs in one table. The first record tells of the machine, the last
    how it ended. Whatever is given by name is a fact by which figures are found again.
    """

    question: str
    out: Path | None = None
    form: str = "long"
    as_json: bool = False
    notes: Mapping[str, object] = field(factory=dict)  # of how it was taken, beside the machine
    records: list[Mapping[str, Any]] = field(factory=list, init=False)
    _file: TextIO | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the file, behind what other questions have written there."""
        if self.out is not None:
            self._file = (self.out / RESULTS).open("a")
        self._tell({"machine": {**machine(), **self.notes}, "form": self.form})

    def samples(
        self, what: str, samples: Sequence[float], *, keep: bool = True, **facts: object
    ) -> float:
        """Tell the percentiles of samples in seconds; return the median in milliseconds.

        `keep`: each is written too, in microseconds, for pictures of their distribution.
        """
        figures = percentiles(samples)
        kept = {"us": [round(one * 1e6) for one in samples]} if keep else {}
        self._tell({"what": what, "n": len(samples), "unit": "ms", **figures, **facts, **kept})
        return figures["p50"]

    def figure(self, what: str, value: float, unit: str, **facts: object) -> None:
        """Tell a single figure."""
        self._tell({"what": what, "value": round(value, 3), "unit": unit, **facts})

    def missing(self, what: str, why: str, **facts: object) -> None:
        """Tell what could not be measured here, and why: no failure, but not silence either."""
        self._tell({"what": what, "missing": why, **facts})

    def end(self, how: str = COMPLETE) -> None:
        """Say how it ended, and close the file."""
        self._tell({"ended": how})
        if self._file is not None:
            self._file.close()

    def _tell(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        line = json.dumps({"question": self.question, **record}, separators=(",", ":"))
        if self.as_json:
            print(line, flush=True)
        elif "what" in record:
            print(in_words(record), flush=True)
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()


def in_words(record: Mapping[str, Any]) -> str:
    """Return a figure as a line for a person who watches."""
    what = f"{record['what']}{facts_in_words(record)}"
    if "missing" in record:
        return f"{what}: not measured: {record['missing']}"
    if "p50" not in record:
        return f"{what}: {record['value']:g} {record['unit']}"
    figures = "  ".join(f"{rank} {record[rank]:.2f}" for rank in RANKS)
    ratio = f"  ({record['ratio_to_floor']:.2f} x floor)" if "ratio_to_floor" in record else ""
    return f"{what}: {figures} {record['unit']}{ratio}"


def facts_in_words(record: Mapping[str, Any]) -> str:
    """Return which image, and with which gaps, in brackets; nothing where it does not matter."""
    facts = [str(record["image"])] if "image" in record else []
    if record.get("gap_ms"):
        facts.append(f"gaps of {record['gap_ms']:g} ms")
    if record.get("concurrency", 1) != 1:
        facts.append(f"{record['concurrency']} at a time")
    return f" [{', '.join(facts)}]" if facts else ""


@contextmanager
def own_directories() -> Iterator[Path]:
    """Keep apart from everything else on the machine, and leave nothing, whatever happens."""
    with (
        tempfile.TemporaryDirectory(prefix="anchor-bench-") as data,
        tempfile.TemporaryDirectory(prefix="anchor-bench-", dir="/dev/shm") as run,  # as /run is
    ):
        Path(data).chmod(0o755)  # an image in it is read by the peers' containers too
        own = {places.RUN_DIR_VARIABLE: run, places.DATA_DIR_VARIABLE: data}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield Path(data)
        finally:
            with uninterrupted():
                end_fleets(Path(run))
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def end_fleets(run: Path) -> None:
    """Bring down what still runs, and sweep what a killed supervisor has left."""
    for folder in sorted(run.iterdir()):
        if (folder / "lock").exists() or (folder / "control.sock").exists():
            say(f"ending what is left of `{folder.name}`")
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    command("main", "down", "-p", folder.name, "--volumes"),
                    check=False,
                    stdout=subprocess.DEVNULL,
                    timeout=SWEEP_PATIENCE,
                    process_group=0,  # no Ctrl-C of the terminal's reaches it
                )


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hear no Ctrl-C within the block: it has been heard, and this is what it asks for."""
    before = signal.signal(signal.SIGINT, _ignored)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ignored(_number: int, _frame: object) -> None:
    """Not SIG_IGN, which a program would inherit."""


def say(words: str) -> None:
    """Tell a person who waits what is going on."""
    print(words, file=sys.stderr, flush=True)
