"""The fleet lock: one holder, never stale, and safe against its own removal."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.runtime import lock
from anchor_supervisor.runtime.lock import fleet_lock


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    """While one supervisor holds the lock, another learns its pid and how to stop it."""
    place = tmp_path / "shop"
    with fleet_lock(place, "shop"), pytest.raises(HostError) as caught, fleet_lock(place, "shop"):
        pass
    assert f"supervisor pid {os.getpid()}" in str(caught.value)
    assert caught.value.hint == (
        "`anchor apply` brings a changed file to it, `anchor -p shop down` stops it"
    )


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


def test_a_dead_supervisors_last_child_is_waited_for(tmp_path: Path) -> None:
    """A child between clone and exec holds copies of its dead parent's descriptors for a moment."""
    place = tmp_path / "shop"
    waiting, let_go = os.pipe()
    supervisor = os.fork()
    if not supervisor:
        with fleet_lock(place, "shop"):
            if os.fork():
                os._exit(0)
            os.close(let_go)
            os.read(waiting, 1)  # until the test's own end is closed
            os._exit(0)
    os.close(waiting)
    os.waitpid(supervisor, 0)
    timer = threading.Timer(0.05, os.close, [let_go])
    timer.start()
    with fleet_lock(place, "shop"):
        assert (place / "lock").read_text() == f"{os.getpid()}\n"
    timer.join()


def test_a_lock_that_nobody_lets_go_of_is_refused_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the dead supervisor's child never ends, the wait does."""
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    monkeypatch.setattr(lock, "_has_ended", lambda _: True)
    place = tmp_path / "shop"
    with fleet_lock(place, "shop"), pytest.raises(HostError), fleet_lock(place, "shop"):
        pytest.fail("it was given twice")


def test_whether_a_holder_has_ended() -> None:
    """Gone and unreaped are ended, alive is not, and nonsense cannot be told."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert lock._has_ended(str(child))
    os.waitpid(child, 0)
    assert lock._has_ended(str(child))
    assert not lock._has_ended(str(os.getpid()))
    assert not lock._has_ended("unknown")
