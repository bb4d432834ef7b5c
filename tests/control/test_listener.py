"""The control socket as a file: whose it is, who may reach it, and when it goes."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from anchor_supervisor.control.client import Client, NotRunning
from anchor_supervisor.control.listener import listening, peer_uid
from anchor_supervisor.errors import HostError


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_reaches_it(run_dir: Path) -> None:
    """The socket is 0600 in a directory of 0700, whatever the umask and the directory's mode."""
    directory = run_dir / "shop"
    directory.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with listening(directory / "control.sock"):
            assert mode(directory / "control.sock") == 0o600
            assert mode(directory) == 0o700
    finally:
        os.umask(before)


def test_a_dead_supervisors_socket_is_replaced(run_dir: Path) -> None:
    """A socket that was left behind does not stop the next supervisor, and goes at its end."""
    path = run_dir / "shop" / "control.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning):
        Client("shop", path).connect()
    with listening(path):
        Client("shop", path).connect().close()
    assert list(path.parent.iterdir()) == []


def test_a_successors_socket_stays(run_dir: Path) -> None:
    """A listener removes at its end only the socket that is its own."""
    path = run_dir / "shop" / "control.sock"
    with listening(path):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


def test_a_long_path_is_reached(run_dir: Path) -> None:
    """A path far beyond the 108 bytes of a socket address works at both ends."""
    path = run_dir / ("d" * 200) / "control.sock"
    with listening(path) as listener, Client("shop", path).connect():
        accepted, _ = listener.accept()
        assert peer_uid(accepted) == os.geteuid()
        accepted.close()


@pytest.mark.root
def test_somebody_elses_directory_is_refused(run_dir: Path) -> None:
    """A run directory of another user is an error of the machine, with a remedy."""
    directory = run_dir / "shop"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with (
        pytest.raises(HostError, match="belongs to user 65534") as caught,
        listening(directory / "s"),
    ):
        pass
    assert caught.value.hint
    directory.rmdir()
