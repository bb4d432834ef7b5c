"""The client against servers that are absent, silent, or not ours."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.control.client import Client, Interrupted, NotRunning
from anchor_supervisor.errors import ControlError


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[Client]:
    """A server that takes one request and says `answer`, whatever it was."""

    def serve_once() -> None:
        connected, _ = listener.accept()
        with connected:
            connected.recv(65536)
            connected.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve_once)
        thread.start()
        yield Client("shop", path)
        thread.join()


def test_nobody_there(run_dir: Path) -> None:
    """No socket at all means that the fleet is not running, and how to start it."""
    with pytest.raises(NotRunning, match="fleet `shop` is not running") as caught:
        Client("shop", run_dir / "none" / "control.sock").get("/v1/fleet")
    assert "anchor up" in (caught.value.hint or "")


def test_a_file_in_its_place(run_dir: Path) -> None:
    """A plain file where the socket should be is nobody there."""
    (run_dir / "s").touch()
    with pytest.raises(NotRunning):
        Client("shop", run_dir / "s").get("/v1/fleet")


def test_silence_has_an_end(run_dir: Path) -> None:
    """A supervisor that takes the connection and says nothing is an error after the timeout."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "s"))
        listener.listen()
        pending = Client("shop", run_dir / "s").send("GET", "/v1/fleet", timeout=0.05)
        with pytest.raises(ControlError, match="does not answer"):
            pending.result()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"\x00\xff"],
)
def test_half_an_answer_is_none(run_dir: Path, answer: bytes) -> None:
    """A supervisor that dies in the middle of its answer is told apart from one that answered."""
    with answering(run_dir / "s", answer) as client, pytest.raises(ControlError) as caught:
        client.get("/v1/fleet")
    assert isinstance(caught.value, Interrupted) or "not understood" in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"no json", b"[1]", b"{}", b'{"error": 3}', b'{"error": {"message": "x"}}']
)
def test_an_error_of_another_shape(run_dir: Path, body: bytes) -> None:
    """An error answer that is not ours is still an error of ours."""
    head = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(run_dir / "s", head + body) as client, pytest.raises(ControlError) as caught:
        client.get("/v1/fleet")
    assert "not understood" in str(caught.value)


def test_a_torn_line_ends_a_stream(run_dir: Path) -> None:
    """A stream that is cut within a line gives the whole lines before it."""
    answer = b'HTTP/1.1 200 OK\r\n\r\n{"n":1}\n{"n":2}\n{"n"'
    with answering(run_dir / "s", answer) as client:
        assert list(client.stream("/v1/logs")) == [{"n": 1}, {"n": 2}]


def test_the_peer_is_known(run_dir: Path) -> None:
    """The kernel says whose the socket is."""
    with answering(run_dir / "s", b"HTTP/1.1 200 OK\r\n\r\n1") as client:
        pending = client.send("GET", "/")
        assert pending.peer_pid() == os.getpid()
        assert pending.result() == 1


def test_a_full_backlog_is_waited_for(run_dir: Path) -> None:
    """A supervisor that is too busy to accept is waited for, and is not one that does not run."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "s"))
        listener.listen(0)
        client = Client("shop", run_dir / "s")
        with client.connect(), pytest.raises(ControlError, match="does not answer") as caught:
            client.connect(0.05)
    assert not isinstance(caught.value, NotRunning)
