"""Expressions that are compiled when they are used."""

from __future__ import annotations

import re

import pytest

from anchor_supervisor.patterns import pattern


def test_an_expression_does_what_re_compiles() -> None:
    """Text and bytes, with and without flags, method by method, again and again."""
    for ours, theirs in (
        (pattern(r"[a-z]+"), re.compile(r"[a-z]+")),
        (pattern(r"[a-z]+", re.IGNORECASE), re.compile(r"[a-z]+", re.IGNORECASE)),
    ):
        for text in ("abc", "ABC", "1abc", ""):
            for _ in range(2):
                assert bool(ours.fullmatch(text)) is bool(theirs.fullmatch(text))
                assert ours.sub("-", text) == theirs.sub("-", text)
                assert bool(ours.match(text, 1)) is bool(theirs.match(text, 1))
        assert ours.pattern == theirs.pattern
        assert ours.flags == theirs.flags
    assert pattern(rb"[a-z]+").findall(b"ab cd") == [b"ab", b"cd"]


def test_nothing_is_compiled_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a method is looked up once."""
    compiled: list[str] = []
    compile_it = re.compile

    def counted(expression: str, flags: int = 0) -> re.Pattern[str]:
        compiled.append(expression)
        return compile_it(expression, flags)

    monkeypatch.setattr(re, "compile", counted)
    one = pattern(r"[0-9]{3}")
    assert compiled == []
    assert one.match("123")
    assert one.match("456")
    assert compiled == [r"[0-9]{3}"]


def test_a_wrong_expression_is_wrong_when_it_is_used() -> None:
    """Not before: a test of whatever has it will use it."""
    one = pattern("(")
    with pytest.raises(re.error):
        one.match("x")


def test_what_no_expression_has_is_missing() -> None:
    """As with any other object."""
    with pytest.raises(AttributeError, match="no attribute 'fullmatsch'"):
        _ = pattern("x").fullmatsch  # type: ignore[attr-defined]
