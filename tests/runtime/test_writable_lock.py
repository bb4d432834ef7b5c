"""One process at a time builds a root over a writable layer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.runtime import writable_lock
from anchor_supervisor.runtime.writable_lock import remove_when_free, writable_locked

HOLDER = """
import sys, time
from pathlib import Path
from anchor_supervisor.runtime.writable_lock import writable_locked
with writable_locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_waits_and_gives_up(tmp_path: Path) -> None:
    """With a hint; and the first is not disturbed."""
    with writable_locked(tmp_path):
        with (
            pytest.raises(HostError, match="has been using") as caught,
            writable_locked(tmp_path, 0.01),
        ):
            pass
        assert caught.value.hint is not None
    with writable_locked(tmp_path, 0.01) as directory:
        assert os.path.samestat(os.fstat(directory), tmp_path.stat())


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """The lock is the kernel's, and ends with its holder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        with writable_locked(tmp_path):
            pass


def test_nothing_to_lock(tmp_path: Path) -> None:
    """The fleet has taken its layer away: the caller says so in its own words."""
    with pytest.raises(FileNotFoundError), writable_locked(tmp_path / "gone"):
        pass


def test_a_layer_goes_whoever_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is free, or after a while: the end of a fleet does not wait for ever."""
    monkeypatch.setattr(writable_lock, "FAREWELL", 0.01)
    for name in ("free", "used", "gone"):
        layer = tmp_path / name
        if name != "gone":
            (layer / "upper").mkdir(parents=True)
        if name == "used":
            with writable_locked(layer):
                remove_when_free(layer)
        else:
            remove_when_free(layer)
        assert not layer.exists()
