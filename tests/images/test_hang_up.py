"""A connection that is ended beneath whoever reads from it."""

from __future__ import annotations

import socket
import threading

import pytest

from anchor_supervisor.images.hang_up import Line, Watch


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends."""
    return socket.socketpair()


def test_a_reader_is_let_go(pair: tuple[socket.socket, socket.socket]) -> None:
    """Hanging up gives a blocked reader the end, and closes no descriptor that it uses."""
    ours, theirs = pair
    with ours, theirs:
        line = Line(ours, 0.0)
        read: list[bytes] = []
        thread = threading.Thread(target=lambda: read.append(ours.recv(1)))
        thread.start()
        line.hang_up()
        thread.join(10)
        assert read == [b""]
        line.close()
        line.hang_up()  # what is over is over
        assert ours.fileno() >= 0


def test_a_step_that_takes_too_long(pair: tuple[socket.socket, socket.socket]) -> None:
    """Past its deadline a connection is hung up; one that rests has none."""
    ours, theirs = pair
    with ours, theirs:
        watch = Watch(patience=0.05, connecting=60)
        line = watch.connected(ours)
        watch.rest()
        assert not watch.stopped.wait(0.2)
        assert not watch.was_late()
        watch.step()
        assert ours.recv(1) == b""
        assert watch.was_late()
        watch.stop()
        watch.close()
        assert line.late


def test_connections_made_too_late(pair: tuple[socket.socket, socket.socket]) -> None:
    """What connects after the stop is hung up at once."""
    ours, theirs = pair
    with ours, theirs:
        watch = Watch(patience=60, connecting=60)
        watch.stop()
        watch.connected(ours)
        assert ours.recv(1) == b""
        watch.close()


def test_each_thread_has_its_own_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    """One thread's lateness is nothing to another."""
    ours, theirs = pair
    with ours, theirs:
        watch = Watch(patience=60, connecting=60)
        watch.connected(ours).late = True
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(watch.was_late()))
        thread.start()
        thread.join()
        assert seen == [False]
        assert watch.was_late()
        watch.stop()
        watch.close()
