"""sd_notify: the right bytes to the right socket, and silence where nobody listens."""

import os
import socket
from pathlib import Path

import pytest

from anchor_supervisor.runtime.notify import Notifier, watchdog_interval


def test_states_arrive_as_one_datagram(tmp_path: Path) -> None:
    """READY and STATUS come as lines of one message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.send("READY=1", "STATUS=3 containers up")
        assert manager.recv(1024) == b"READY=1\nSTATUS=3 containers up"


def test_an_abstract_socket_is_reached() -> None:
    """An address that begins with @ is in the abstract namespace (unix(7))."""
    name = f"anchor-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        Notifier(f"@{name}").send("READY=1")
        assert manager.recv(1024) == b"READY=1"


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Sending to nobody returns quietly, with and without an address."""
    Notifier(str(tmp_path / "gone")).send("READY=1")
    nobody = Notifier.from_environment({})
    nobody.send("READY=1")
    assert nobody.address is None


def test_the_watchdog_is_fed_twice_as_often_as_asked() -> None:
    """Half of WATCHDOG_USEC, for our pid or for any; nonsense means no watchdog."""
    assert watchdog_interval({"WATCHDOG_USEC": "3000000"}) == 1.5
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}) == 1.5
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_interval({"WATCHDOG_USEC": "soon"}) is None
    assert watchdog_interval({}) is None


def test_a_value_is_one_line(tmp_path: Path) -> None:
    """Words of an image in a reason say nothing to the manager that is not ours."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        Notifier(str(tmp_path / "notify")).send("READY=1", "STATUS=no user `x\nMAINPID=1`\x1b[2J")
        assert manager.recv(1024) == b"READY=1\nSTATUS=no user `x\\nMAINPID=1`\\x1b[2J"


def test_no_descriptor_for_a_socket_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the loop tells must not end it."""

    def refuse(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    Notifier(str(tmp_path / "notify")).send("READY=1")
