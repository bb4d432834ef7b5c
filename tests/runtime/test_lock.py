"""The fleet lock: one holder, never stale, and safe against its own removal."""

import os
import shutil
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.runtime.lock import fleet_lock


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    """While one supervisor holds the lock, another learns its pid and how to stop it."""
    place = tmp_path / "shop"
    with fleet_lock(place, "shop"), pytest.raises(HostError) as caught, fleet_lock(place, "shop"):
        pass
    assert f"supervisor pid {os.getpid()}" in str(caught.value)
    assert caught.value.hint == "stop it with `anchor -p shop down`"


def test_a_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    """Leaving the context frees the lock, with an error too."""
    with pytest.raises(KeyError), fleet_lock(tmp_path / "shop", "shop"):
        raise KeyError
    with fleet_lock(tmp_path / "shop", "shop"):
        assert (tmp_path / "shop" / "lock").read_text() == f"{os.getpid()}\n"


def test_a_removed_lock_file_guards_nothing(tmp_path: Path) -> None:
    """Where the holder removed the directory, the next one makes a new lock and gets it."""
    with fleet_lock(tmp_path / "shop", "shop"):
        shutil.rmtree(tmp_path / "shop")
        with fleet_lock(tmp_path / "shop", "shop"):
            assert (tmp_path / "shop" / "lock").exists()


def test_the_run_directory_is_private(tmp_path: Path) -> None:
    """Nobody but root may look into a fleet's run directory."""
    with fleet_lock(tmp_path / "shop", "shop"):
        assert (tmp_path / "shop").stat().st_mode & 0o777 == 0o700
