"""What is done with samples is right, and does not depend on how fast the machine is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arithmetic import all_of, cumulative, percentiles, ratio, rounds, slope

SECONDS = st.floats(min_value=1e-6, max_value=1e3)
SAMPLES = st.lists(SECONDS, min_size=1, max_size=50)


def test_percentiles_are_nearest_ranks_in_milliseconds() -> None:
    """Of a hundred and one the ranks fall on whole places."""
    samples = [number / 1000 for number in reversed(range(101))]
    assert percentiles(samples) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert percentiles([0.004]) == dict.fromkeys(("p50", "p95", "p99", "max"), 4.0)


def test_no_samples_have_no_percentiles() -> None:
    """Nothing is not zero."""
    with pytest.raises(ValueError, match="no samples"):
        percentiles([])


@given(SAMPLES)
def test_percentiles_are_in_order_and_of_the_samples(samples: list[float]) -> None:
    """Each is one of the samples, and none is below the one before."""
    found = list(percentiles(samples).values())
    assert found == sorted(found)
    assert set(found) <= {round(one * 1000, 3) for one in samples}


@given(st.integers(0, 500), st.integers(1, 60))
def test_rounds_share_a_number(number: int, size: int) -> None:
    """All of them together are the number, and only the last is shorter."""
    shares = list(rounds(number, size))
    assert sum(shares) == number
    assert all(share == size for share in shares[:-1])
    assert all(0 < share <= size for share in shares)


@given(st.lists(st.tuples(SAMPLES, st.floats(0.01, 100)), min_size=1, max_size=9), st.floats(1, 9))
def test_a_drift_between_rounds_changes_no_ratio(
    turns: list[tuple[list[float], float]], times: float
) -> None:
    """Where each round has a speed of its own, ours is still so many times theirs."""
    theirs = [[one * speed for one in samples] for samples, speed in turns]
    ours = [[one * times for one in samples] for samples in theirs]
    assert ratio(ours, theirs) == pytest.approx(times, abs=0.002)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """One round that something else got into does not count."""
    assert ratio([[2, 2, 2], [300], [2]], [[1, 1, 9], [1], [1]]) == 2


def test_rounds_that_do_not_match_are_no_rounds() -> None:
    """A side that missed its turn is a mistake."""
    with pytest.raises(ValueError, match="argument 2"):
        ratio([[1.0], [1.0]], [[1.0]])


def test_all_of_several_rounds_keeps_their_order() -> None:
    """First the first round."""
    assert all_of([[3, 1], [], [2]]) == [3, 1, 2]


def test_a_slope_goes_from_the_first_to_the_last() -> None:
    """What one more costs, and what none does."""
    assert slope([(1, 30), (100, 0), (101, 130)]) == (1, 29)
    with pytest.raises(ValueError, match="both are 5"):
        slope([(5, 1), (5, 2)])


def test_which_part_is_not_above() -> None:
    """All of them are not above the greatest."""
    assert cumulative([3, 1, 2, 2]) == ([1, 2, 2, 3], [0.25, 0.5, 0.75, 1.0])
