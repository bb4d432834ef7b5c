"""Signals, as a person names them."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.runtime.signal_number import signal_number


@given(st.sampled_from(list(signal.Signals)), st.booleans(), st.booleans())
def test_every_signal_has_its_number(number: signal.Signals, prefix: bool, lower: bool) -> None:
    """With SIG and without, in upper case and lower."""
    name = number.name if prefix else number.name.removeprefix("SIG")
    assert signal_number(name.lower() if lower else name) == number


def test_real_time_signals_are_counted_from_the_first() -> None:
    """They have no names of their own between the first and the last."""
    assert signal_number("RTMIN+3") == signal.SIGRTMIN + 3
    assert signal_number("RTMAX") == signal.SIGRTMAX


@pytest.mark.parametrize("name", ["", "SIG", "NOSUCH", "9", "TERM+", "RTMIN+99", "RTMIN+x", "+1"])
def test_what_is_no_signal_is_refused(name: str) -> None:
    """With the word that was given."""
    with pytest.raises(ValueError, match=r"is not a signal") as caught:
        signal_number(name)
    assert f"`{name}`" in str(caught.value)
