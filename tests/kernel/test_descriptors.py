"""Descriptors that are closed together, whatever happens."""

from __future__ import annotations

import os

import pytest

from anchor_supervisor.kernel._calls import close_all
from anchor_supervisor.kernel.descriptors import Descriptors


def opened() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_all_are_closed_at_the_end_and_nothing_else_is() -> None:
    """Those that were added, and once: a number may be another's by the second time."""
    other = opened()
    with Descriptors() as several:
        mine = [several.add(opened()) for _ in range(20)]
        assert all(map(is_open, mine))
    assert not any(map(is_open, mine))
    again = opened()
    several.close()
    assert is_open(other)
    assert is_open(again)
    os.close(other)
    os.close(again)


def test_one_that_is_left_to_another_stays_open() -> None:
    """Alone of all of them."""
    with Descriptors() as several:
        first, second = several.add(opened()), several.add(opened())
        assert several.leave(first) == first
    assert is_open(first)
    assert not is_open(second)
    os.close(first)


def test_an_error_closes_them_too() -> None:
    """The error goes on."""
    mine = opened()

    def fail() -> None:
        with Descriptors() as several:
            several.add(mine)
            os.stat("/no/such/thing")

    with pytest.raises(FileNotFoundError):
        fail()
    assert not is_open(mine)


def test_one_that_is_closed_already_does_not_keep_the_others_open() -> None:
    """Nor does the last that was added have to be the first that is fit."""
    with Descriptors() as several:
        first, second = several.add(opened()), several.add(opened())
        os.close(second)
    assert not is_open(first)


def test_what_is_no_number_closes_nothing() -> None:
    """All arguments are read before anything is closed."""
    mine = opened()
    with pytest.raises(TypeError):
        close_all(mine, "x")  # type: ignore[arg-type]
    assert is_open(mine)
    os.close(mine)
