"""A builder whose store has a base image."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import Console
from image_builder import Builder, make_base


@pytest.fixture(scope="session")
def base_root() -> Iterator[Path]:
    """The base image's root, as a directory."""
    place = Path(tempfile.mkdtemp(prefix="anchor-", dir=os.environ.get("ANCHOR_TEST_DIR", "/tmp")))
    place.chmod(0o755)
    yield make_base(place)
    shutil.rmtree(place)


@pytest.fixture
def builder(
    run_dir: Path,
    data_dir: Path,
    programs: dict[str, str],
    base_root: Path,
    nothing_left: None,
) -> Iterator[Builder]:
    """A builder whose store has the image `base`."""
    work = run_dir.parent / "work"
    work.mkdir()
    console = Console(work, programs)
    said = console.anchor("import", base_root, "base")
    assert said.code == 0, said
    yield Builder(console)
    console.clean_up()
