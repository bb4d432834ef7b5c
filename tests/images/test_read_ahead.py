"""Reading ahead: the same pieces in the same order, bounded, and never a thread left behind."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest

from anchor_supervisor.images.read_ahead import ReadAhead
from waiting import eventually


def pieces(count: int) -> list[bytes]:
    return [str(number).encode() * 1000 for number in range(1, count + 1)]


def test_pieces_come_in_order_and_are_digested() -> None:
    """All of them, then nothing, and the digest is that of all of them."""
    ahead = ReadAhead(iter(pieces(500)))
    try:
        got = list(iter(ahead.next, b""))
        assert got == pieces(500)
        assert ahead.next() == b""
        assert ahead.digest == f"sha256:{hashlib.sha256(b''.join(got)).hexdigest()}"
    finally:
        ahead.close()


def test_an_error_comes_after_what_was_before_it() -> None:
    """The consumer gets what the producer raised, in its place, as often as it asks."""

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("broken")

    ahead = ReadAhead(broken())
    try:
        assert ahead.next() == b"first"
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                ahead.next()
    finally:
        ahead.close()


def test_it_is_a_bounded_number_of_pieces_ahead() -> None:
    """A producer without an end waits for its consumer, and ends when that has had enough."""
    produced = []

    def endless() -> Iterator[bytes]:
        while True:
            produced.append(1)
            yield b"x" * 3000

    before = threading.active_count()
    ahead = ReadAhead(endless())
    ahead.next()
    eventually(lambda: len(produced) >= 10, what="pieces made ahead")
    assert len(produced) < 40
    ahead.close()
    assert threading.active_count() == before
