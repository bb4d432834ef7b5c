"""What the tests of the verbs share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_program import ROOT, Anchor, pretending


@pytest.fixture
def environment(programs: dict[str, str]) -> dict[str, str]:
    """What our programs see: their own places, and the sources."""
    return {**programs, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def anchor(environment: dict[str, str], data_dir: Path) -> Anchor:
    """Run `anchor ARGUMENTS...` in a directory without a fleet file."""
    return Anchor(data_dir, environment)


@pytest.fixture
def shop(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The fleet `shop`, running."""
    with pretending("shop", environment) as process:
        yield process
