"""Directories of the supervisor: closed to everybody else, from the first one made."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.rootfs.private import make_private


def test_every_directory_made_is_closed(tmp_path: Path) -> None:
    """Parents that were missing are as private as the last one; one that was there is kept."""
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a/b/c")
    make_private(tmp_path / "a/b/c")
    modes = [path.stat().st_mode & 0o777 for path in sorted(tmp_path.rglob("*"))]
    assert modes == [0o700] * 3
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """A plain file where a parent should be is not passed over."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private(tmp_path / "file/below")
