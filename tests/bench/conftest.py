"""What the tests of the benchmarks share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from anchor_program import ROOT, Result

Ask = Callable[..., Result]

PATIENCE: Final = 240.0
"""Seconds that no question takes which is asked for the least of everything."""


@pytest.fixture
def ask(programs: dict[str, str], data_dir: Path) -> Ask:
    """Ask `python bench ARGUMENTS...`, as `anchor bench` does."""

    def asked(*arguments: str | Path, wrapped: Sequence[str] = ()) -> Result:
        command = [*wrapped, sys.executable, str(ROOT / "bench"), *map(str, arguments)]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=data_dir,
            env=programs,
        ) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except BaseException:
                process.terminate()  # and not killed: it has fleets to bring down
                process.communicate()
                raise
        return Result(command, process.returncode, out, err)

    return asked
