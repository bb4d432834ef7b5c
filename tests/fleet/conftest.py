"""What the tests of fleet files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_files import Folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty directory, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path.resolve())
