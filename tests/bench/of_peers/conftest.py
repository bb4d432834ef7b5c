"""A corner that is only paths: nothing of the machine is touched with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peers.corner import Corner

Install = Callable[[str, str], Path]


@pytest.fixture
def place(tmp_path: Path) -> Corner:
    """Places for files on disk and in memory, on a machine with cgroups of both versions."""
    directory, run = tmp_path / "disk", tmp_path / "memory"
    directory.mkdir()
    run.mkdir()
    unified, pids = Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/pids")
    return Corner("anchor-bench-7", directory, run, (unified, pids), unified, mixed=True)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install programs that are shell scripts; no other is to be found, but what they need."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def installed(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)
        return path

    return installed
