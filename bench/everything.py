"""Every question, one after the other, and the report; what fails does not stop the others.

Each is asked in a process of its own, so that none finds what another left in memory. What is not
installed here is named in the results, and is no failure.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final, final

from anchor_supervisor.cli.problems import INTERRUPTED, warn
from anchor_supervisor.runtime.preflight import require_root
from measure import say
from options import words, writable_directory
from programs import require_programs
from report import make_report

OUT: Final = Path("bench-results")
PROGRAM: Final = Path(__file__).resolve().parent


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=OUT, help=f"where results go (default {OUT})"
    )
    parser.add_argument("--only", metavar="QUESTIONS", help="these alone, with commas between")


def ask(options: argparse.Namespace, questions: Sequence[str]) -> int:
    """Ask each; return 1 where one has failed, and name it."""
    require_root()
    require_programs()
    writable_directory("--out", options.out)
    wanted = words("--only", questions)(options.only) if options.only else questions
    flags = ["--out", str(options.out)]
    flags += [f"--{name}" for name in ("short", "json") if getattr(options, name)]
    failed, asker = [], _Asker()
    for question in wanted:
        say(f"\n=== {question}")
        begun = time.monotonic()
        code = asker.ask([sys.executable, str(PROGRAM), question, *flags])
        say(f"=== {question}: {time.monotonic() - begun:.0f} s")
        if asker.interrupted:
            break
        if code != 0:
            failed.append(question)
    for made in make_report(options.out):
        print(made)
    if asker.interrupted:
        return INTERRUPTED
    for question in failed:
        warn(f"`{question}` has no answer, or not a whole one: see above")
    return 1 if failed else 0


@final
class _Asker:
    """Runs a program to its end, and leaves it the time to clean up when it is interrupted."""

    def __init__(self) -> None:
        self.interrupted = False
        self._process: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def ask(self, argv: Sequence[str]) -> int:
        """Return its exit code."""
        self._process = subprocess.Popen(argv)
        code = self._process.wait()
        self._process = None
        return code

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        # The terminal sends its own to all of us; whoever ends us alone means the whole.
        if number != signal.SIGINT and self._process is not None:
            self._process.send_signal(number)
