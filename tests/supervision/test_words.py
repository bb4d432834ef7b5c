"""Words: numbers and ends as a person reads them."""

from __future__ import annotations

import pytest

from anchor_supervisor.supervision import words
from anchor_supervisor.supervision.states import ExitStatus


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-1.0, "0s"),
        (0.05, "50ms"),
        (10.0, "10s"),
        (600.0, "10m"),
        (3930.02, "1h5m30s20ms"),
        (0.0004, "0s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Durations read as fleet.toml writes them."""
    assert words.duration(seconds) == text


def test_last() -> None:
    """An exit code alone is short; anything else tells its story."""
    assert words.last(ExitStatus(code=1)) == "exit 1"
    assert words.last(ExitStatus(signal=11)) == "killed by SIGSEGV"
    assert words.last(ExitStatus(code=137, oom="oom (limit 64M, peak 64M)")) == (
        "exited (137), oom (limit 64M, peak 64M)"
    )


def test_count_and_ordinal() -> None:
    """Numbers agree with their nouns."""
    assert [words.count(number, "restart") for number in (0, 1, 2)] == [
        "0 restarts",
        "1 restart",
        "2 restarts",
    ]
    assert [words.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "112th",
    ]
