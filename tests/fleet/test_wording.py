"""Values as messages show them."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.wording import did_you_mean, kind_of, show


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    """No value of a file can send escape sequences to the terminal."""
    assert show(text).isprintable()


def test_long_values_are_cut() -> None:
    """A message repeats no more of a value than a person reads."""
    assert show("x" * 1000) == "`" + "x" * 80 + "…`"


def test_values_are_shown_as_toml_has_them() -> None:
    """Booleans in lower case; a number of any size without an exception."""
    assert show(True) == "`true`"
    assert show(16**9000) == "`a number of more than 64 bits`"
    assert show({"a": 1}) == "`{…}`"
    assert kind_of(dt.date(2026, 1, 1)) == "a date or time"


def test_the_nearest_word_is_proposed() -> None:
    """A slip finds its word; two letters changed about in a short one as well."""
    assert did_you_mean("comand", ["command", "image"]) == "did you mean `command`?"
    assert did_you_mean("bd", ["db", "web"]) == "did you mean `db`?"
    assert did_you_mean("zzz", ["command"]) is None
