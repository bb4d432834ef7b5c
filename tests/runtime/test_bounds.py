"""How often the same is told: never more than once in so many seconds, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.runtime.bounds import TELL_EVERY, Bounds, Matter

ONE: Matter = (InstanceId("web"), "oom")
OTHER: Matter = (InstanceId("web", 2), "oom")
KIND: Matter = (InstanceId("web"), "pressure")

halves = st.integers(0, int(6 * TELL_EVERY)).map(lambda number: number / 2)  # exact, as floats
offers = st.lists(st.tuples(st.sampled_from([ONE, OTHER, KIND]), halves), max_size=60)


@given(offers)
def test_everything_is_told_or_counted_and_nothing_too_often(
    offered: list[tuple[Matter, float]],
) -> None:
    """Whoever looks when something is due has told all in the end, each matter by itself."""
    bounds, now = Bounds(), 0.0
    told: dict[Matter, list[float]] = {ONE: [], OTHER: [], KIND: []}
    counted = dict.fromkeys(told, 0)

    def tell_due(until: float) -> None:
        while (due := bounds.next_due()) <= until:
            for matter, left_out in bounds.take_due(due):
                assert left_out > 0
                told[matter].append(due)
                counted[matter] += left_out

    for matter, later in offered:
        now += later
        tell_due(now)
        if bounds.admit(matter, now):
            told[matter].append(now)
            counted[matter] += 1
    tell_due(now + 2 * TELL_EVERY)
    for matter in told:
        assert counted[matter] == sum(offer[0] == matter for offer in offered)
        times = told[matter]
        assert all(b - a >= TELL_EVERY for a, b in pairwise(times))
    assert bounds.next_due() == float("inf")


def test_what_is_forgotten_is_owed_no_more() -> None:
    """And begins anew; others of that kind are left as they are."""
    bounds = Bounds()
    for matter in (ONE, OTHER, KIND):
        assert bounds.admit(matter, 0.0)
        assert not bounds.admit(matter, 1.0)
    bounds.forget(ONE[0])
    assert bounds.take_due(TELL_EVERY) == [(OTHER, 1)]
    assert bounds.admit(ONE, TELL_EVERY)
    assert not bounds.admit(OTHER, TELL_EVERY)
