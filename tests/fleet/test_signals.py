"""Names of signals."""

from __future__ import annotations

import signal

import pytest

from anchor_supervisor.fleet.signals import (
    NO_NEWS_SIGNALS,
    NO_STOP_SIGNALS,
    SIGNALS,
    check_signal,
    signal_name,
)
from anchor_supervisor.fleet.wording import Mistake


def test_every_signal_is_one_that_python_can_send() -> None:
    """The names are the standard library's, so that the runtime finds their numbers."""
    assert {f"SIG{name}" for name in SIGNALS} <= {one.name for one in signal.Signals}
    assert set(SIGNALS) >= NO_STOP_SIGNALS | NO_NEWS_SIGNALS


@pytest.mark.parametrize("name", ["TERM", "term", "SIGTERM", "sigterm"])
def test_a_signal_is_written_as_one_likes(name: str) -> None:
    """In any case, with or without SIG."""
    assert signal_name(name) == "TERM"


@pytest.mark.parametrize("name", ["HUP", "RTMIN", "RTMIN+1", "RTMIN+30", "RTMAX"])
def test_signals_that_there_are(name: str) -> None:
    """Also those without a meaning of the kernel's."""
    check_signal(name)


@pytest.mark.parametrize("name", ["TRM", "15", "RTMIN+0", "RTMIN+31", "RTMIN+", "", "term"])
def test_signals_that_there_are_not(name: str) -> None:
    """A number is none, because it means another signal elsewhere."""
    with pytest.raises(Mistake, match="is not a signal"):
        check_signal(name)
