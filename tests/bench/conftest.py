"""What the tests of the benchmarks share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from anchor_program import ROOT, Result

Ask = Callable[..., Result]


@pytest.fixture
def ask(programs: dict[str, str], data_dir: Path) -> Ask:
    """Ask `python bench ARGUMENTS...`, as `anchor bench` does."""

    def asked(*arguments: str | Path, wrapped: Sequence[str] = ()) -> Result:
        return subprocess.run(
            [*wrapped, sys.executable, str(ROOT / "bench"), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=data_dir,
            env=programs,
            timeout=300,
        )

    return asked
