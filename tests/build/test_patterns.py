"""The patterns of `${x#pattern}` and its kin."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build import patterns
from anchor_supervisor.fleet.wording import Mistake

VALUE = st.text(st.sampled_from("ab/."), max_size=8)
PATTERN = st.text(st.sampled_from("ab/.*?"), max_size=5)


def matching(value: str, text: str) -> list[tuple[int, int]]:
    """Every part of the value that matches, tried one by one with the standard library."""
    wanted = re.compile(fnmatch.translate(text))
    ends = range(len(value) + 1)
    return [(i, j) for i in ends for j in ends if i <= j and wanted.match(value[i:j])]


@given(VALUE, PATTERN, st.booleans())
def test_beginnings_and_ends_are_cut_as_trying_all_of_them_would(
    value: str, text: str, longest: bool
) -> None:
    """The shortest or the longest that matches; the whole value where none does."""
    pattern = patterns.pattern(text)
    choose = max if longest else min
    found = matching(value, text)
    prefix = choose((end for start, end in found if start == 0), default=0)
    assert patterns.without_prefix(value, pattern, longest=longest) == value[prefix:]
    suffix = choose((len(value) - start for start, end in found if end == len(value)), default=0)
    left = value[: len(value) - suffix]
    assert patterns.without_suffix(value, pattern, longest=longest) == left


@given(VALUE, PATTERN.filter(bool), st.booleans())
def test_replacing_takes_the_leftmost_and_there_the_longest(
    value: str, text: str, everywhere: bool
) -> None:
    """One after the other, none overlapping; matches of nothing don't count."""
    expected, position = "", 0
    while position < len(value):
        spans = [(i, -j) for i, j in matching(value, text) if i >= position and j > i]
        if not spans:
            break
        start, end = min(spans)
        expected += value[position:start] + "<>"
        position = -end
        if not everywhere:
            break
    expected += value[position:]
    pattern = patterns.pattern(text)
    assert patterns.replaced(value, pattern, "<>", everywhere=everywhere) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a\*b", ("a", "*", "b")),
        (r"\\\?\/\}", ("\\", "?", "/", "}")),
        ("**a", (patterns.ANY_TEXT, "a")),
        ("?", (patterns.ANY_LETTER,)),
        ("[a]", ("[", "a", "]")),
    ],
)
def test_escaped_letters_stand_for_themselves(text: str, expected: patterns.Pattern) -> None:
    """And brackets are letters too."""
    assert patterns.pattern(text) == expected


@pytest.mark.parametrize("text", ["\\a", "a\\"])
def test_an_escape_without_a_meaning_is_a_mistake(text: str) -> None:
    """As docker has it."""
    with pytest.raises(Mistake, match="has no meaning"):
        patterns.pattern(text)


def test_no_pattern_is_slow() -> None:
    """Twenty wildcards that match everything but the end, which backtracking would not survive."""
    started = time.monotonic()
    assert patterns.without_prefix("a" * 5000, patterns.pattern("*a" * 20 + "b"), longest=True)
    assert time.monotonic() - started < 5
