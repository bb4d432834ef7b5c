"""Memory that lasts: not looked at while a fleet lives, and all as before when it is over."""

from __future__ import annotations

import gc

import pytest

from anchor_supervisor.runtime.lasting_memory import YOUNG, seldom_collected, take_for_lasting


def test_what_is_there_is_not_looked_at() -> None:
    """Neither what was there before nor what is taken for lasting later; new garbage is found."""
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold()[0] == YOUNG
        assert gc.get_freeze_count() > 0
        count = gc.get_freeze_count()
        new: list[object] = [[number] for number in range(100)]
        take_for_lasting()
        assert gc.get_freeze_count() >= count + len(new)
        circle: list[object] = []
        circle.append(circle)
        del circle
        assert gc.collect() >= 1
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_all_is_as_before_whatever_happens() -> None:
    """An error ends it as well."""
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), seldom_collected():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
