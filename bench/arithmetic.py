"""What is done with samples: percentiles, ratios between what took turns, a line through points.

Pure. The machine's speed drifts, by a factor of two within an hour where it is a virtual one. So
whatever is compared takes turns in rounds, and a ratio is that of each round, of which the median
is told: a drift that is slower than a round changes both sides alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from statistics import median
from typing import Final

ROUND: Final = 20
"""Samples of each side before it is the other's turn."""

RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}

Rounds = Sequence[Sequence[float]]


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Milliseconds at p50, p95, p99 and at worst, of samples in seconds (nearest rank).

    Raises ValueError where there are none.
    """
    if not samples:
        message = "no samples"
        raise ValueError(message)
    ordered = sorted(samples)
    last = len(ordered) - 1
    return {name: round(ordered[round(last * rank)] * 1000, 3) for name, rank in RANKS.items()}


def rounds(count: int, size: int = ROUND) -> Iterator[int]:
    """Yield how many samples each round takes, `count` in all."""
    while count > 0:
        yield min(count, size)
        count -= size


def ratio(ours: Rounds, others: Rounds) -> float:
    """How many times theirs is ours: the median over the rounds of the ratio of the medians."""
    pairs = zip(ours, others, strict=True)
    return round(median(median(mine) / median(theirs) for mine, theirs in pairs), 3)


def all_of(several: Rounds) -> list[float]:
    """Return the samples of all rounds, in their order."""
    return list(chain.from_iterable(several))


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return what one more costs, and what none costs: the line from the first point to the last.

    Raises ValueError where both are at the same place.
    """
    (few, low), (many, high) = points[0], points[-1]
    if few == many:
        message = f"two numbers are needed to compare, and both are {few:g}"
        raise ValueError(message)
    each = (high - low) / (many - few)
    return each, low - each * few


def cumulative(samples: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the samples in order, and which part of all is not above each."""
    ordered = sorted(samples)
    return ordered, [(number + 1) / len(ordered) for number in range(len(ordered))]
