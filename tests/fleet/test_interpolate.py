"""`${VAR}` and its kin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.interpolate import interpolate
from anchor_supervisor.fleet.wording import Mistake

SET = {"A": "1", "EMPTY": "", "B_2": "two"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "1"),
        ("$A.$B_2", "1.two"),
        ("${A}x", "1x"),
        ("$$A", "$A"),
        ("$$$$", "$$"),
        ("$${A}", "${A}"),
        ("${A:-d}", "1"),
        ("${NO:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NO-d}", "d"),
        ("${NO:-}", ""),
        ("${A:?needed}", "1"),
        ("${EMPTY?needed}", ""),
        ("${A:+on}", "on"),
        ("${EMPTY:+on}", ""),
        ("${EMPTY+on}", "on"),
        ("${NO+on}", ""),
        ("${NO:-${A}}", "1"),
        ("${NO:-${NOT:-a}b}c", "abc"),
        ("${A:-${UNSET}}", "1"),
        ("${NO:-a}b}", "ab}"),
        ("a } b", "a } b"),
        ("${NO:-$$}", "$"),
        ("${A:-$${}", "1"),
        ("${NO:-:-?+}", ":-?+"),
    ],
)
def test_every_form_means_what_compose_means(text: str, expected: str) -> None:
    """Set, unset and empty, with and without the colon, inside one another."""
    assert interpolate(text, SET) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$NO", "variable `NO` is not set"),
        ("${NO}", "variable `NO` is not set"),
        ("${NO:?say it}", "variable `NO` is not set: say it"),
        ("${EMPTY:?say it}", "variable `EMPTY` is not set: say it"),
        ("${NO?}", "variable `NO` is not set: required"),
        ("${NO:?$A}", "variable `NO` is not set: 1"),
        ("$", "a `$` in `$` is not followed by a variable"),
        ("$1", "a `$` in `$1` is not followed by a variable"),
        ("${", "a `${` in `${` is not followed by a variable's name"),
        ("${A", "`${A`: `${A` is followed by neither `}` nor an operator"),
        ("${A!}", "`${A!}`: `${A` is followed by neither `}` nor an operator"),
        ("${A:-x", "a `${` in `${A:-x` is never closed"),
        ("${NO:-x", "a `${` in `${NO:-x` is never closed"),
    ],
)
def test_what_cannot_be_expanded_is_an_error(text: str, message: str) -> None:
    """An unset variable is never silently empty, and a lone dollar never silently itself."""
    with pytest.raises(Mistake) as caught:
        interpolate(text, SET)
    assert caught.value.message == message


def test_nesting_has_an_end() -> None:
    """A string cannot drive the expansion as deep as it likes."""
    with pytest.raises(Mistake, match="more than 20"):
        interpolate("${NO:-" * 30 + "}" * 30, {})


@given(st.text())
def test_a_text_with_doubled_dollars_comes_out_as_it_was(text: str) -> None:
    """`$$` is the one escape that is needed."""
    assert interpolate(text.replace("$", "$$"), {}) == text


@given(st.text(alphabet="${}:-+?AB x"))
def test_nothing_but_mistake_is_raised(text: str) -> None:
    """Every mixture of braces, dollars and operators is either expanded or refused."""
    try:
        expanded = interpolate(text, SET)
    except Mistake:
        return
    assert "A" not in expanded or "A" in text
