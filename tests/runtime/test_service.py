"""A supervisor's own process: what it does not take over from whoever started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLEET = """
[containers.look]
kind = "job"
image = "host"
user = "nobody"
networks = "none"
command = ["sh", "-c", "ls /data && cat /etc/hosts"]
volumes = ["pages:/data"]
[volumes.pages]
"""


@pytest.mark.root
def test_the_callers_umask_is_not_the_containers(programs: dict[str, str], tmp_path: Path) -> None:
    """Under umask 077 a container that is not root still reads its volume and /etc/hosts."""
    (tmp_path / "shop.toml").write_text(FLEET)
    done = subprocess.run(
        [sys.executable, "-m", "anchor_supervisor.cli.supervise", tmp_path / "shop.toml"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        umask=0o077,
        cwd=Path(__file__).parents[2],
        env=programs,
    )
    assert "Permission denied" not in done.stdout
    assert done.returncode == 0
