"""`make run`, as a new user meets it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.native]

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.usefixtures("host_image")
def test_the_demo_tells_its_whole_story_in_fifteen_seconds() -> None:
    """Up, seen, fetched from, restarted, explained, stopped in order, and nothing left."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, CHECKOUT / "configs/run_demo.py"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT / "tests"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<h1>It runs.</h1>" in done.stdout
    assert "stopped in this order: worker.1, web.1" in done.stdout
    assert "nothing is left" in done.stdout
    assert time.monotonic() - began < 15
