"""Containers' output for a terminal: whole lines, prefixed, and harmless."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.observability.terminal import (
    MAX_HELD,
    RESET,
    Prefixer,
    display_names,
    neutral,
    neutral_text,
    wants_color,
)

SGR = re.compile(r"\x1b\[[0-9;:]*m")
NASTY = st.lists(
    st.sampled_from(
        [
            *(b"\x1b[", b"\x1b]0;title\x07", b"\x1b[2J", b"\x1b[31m", b"\x1b", b"\r", b"\x07"),
            *(b"\x9b", b"\xc2\x9b5n", b"\xff", b"\x1bP", b"\x1b\\", b"\x08", b"\0", b"m", b"1;"),
            "\u00e9\u202e".encode(),
        ]
    )
).map(b"".join)


@given(st.binary() | NASTY, st.booleans())
def test_no_control_reaches_a_terminal(line: bytes, color: bool) -> None:
    """What is left is UTF-8 with no control character but tabs, and colours where they are on."""
    shown = neutral(line.replace(b"\n", b""), color=color).decode()
    if color:
        shown = SGR.sub("", shown)
    assert all(ch == "\t" or (ord(ch) >= 0x20 and not 0x7F <= ord(ch) <= 0x9F) for ch in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs", "Cf"])))
def test_plain_text_is_untouched(text: str) -> None:
    """Text without controls is shown as it is, whatever the language."""
    assert neutral(text.encode()) == text.encode()
    assert neutral_text(text) == text


@pytest.mark.parametrize(
    ("line", "plain", "coloured"),
    [
        (b"\x1b[31mred\x1b[0m", b"red", b"\x1b[31mred\x1b[0m"),
        (b"a\x1b[2Jb", b"ab", b"ab"),
        (b"\x1b]0;owned\x07x", b"x", b"x"),
        (b"\x1b]52;c;cm0gLXJm\x1b\\x", b"x", b"x"),
        (b"\x1b]never ended", b"^[]never ended", b"^[]never ended"),
        (b"10%\r20%\r", b"10%^M20%", b"10%^M20%"),
        (b"dos\r", b"dos", b"dos"),
        (b"\xff\x00", b"\xef\xbf\xbd^@", b"\xef\xbf\xbd^@"),
        (b"\x1b(0lqk", b"lqk", b"lqk"),
        (b"\x7f", b"^?", b"^?"),
    ],
)
def test_what_is_shown_instead(line: bytes, plain: bytes, coloured: bytes) -> None:
    """Sequences go, stray controls are shown, colours stay only where colour is on."""
    assert neutral(line) == plain
    assert neutral(line, color=True) == coloured


def test_a_hostile_line_takes_no_longer_than_its_length() -> None:
    """Sequences that never end are looked at once, not once for each of their beginnings."""
    for beginning in ("\x1b[", "\x1b]", "\x90", "\x9d", "\x1b[0;", "\x1b "):
        line = (beginning * 200_000).encode()
        assert b"\x1b" not in neutral(line)


@given(st.lists(st.tuples(st.sampled_from(["a.1", "b.1", "b.2"]), st.binary(max_size=20))))
def test_lines_come_out_whole(chunks: list[tuple[str, bytes]]) -> None:
    """Every output line has one prefix, and each instance's lines are its own, in order."""
    prefixer = Prefixer({"a.1": "a", "b.1": "b.1", "b.2": "b.2"}, color=False)
    out = b"".join(prefixer.feed(name, "stdout", data) for name, data in chunks)
    out += b"".join(prefixer.finish(name) for name in ("a.1", "b.1", "b.2"))
    for name, prefix in (("a.1", b"a   | "), ("b.1", b"b.1 | "), ("b.2", b"b.2 | ")):
        said = b"".join(data for each, data in chunks if each == name)
        lines = said.split(b"\n")
        expected = [neutral(line) for line in (lines if lines[-1] else lines[:-1])]
        got = [line for line in out.split(b"\n") if line.startswith(prefix)]
        assert [line.removeprefix(prefix) for line in got] == expected


def test_an_endless_line_is_not_held_for_ever() -> None:
    """Memory for a line without an end is bounded."""
    prefixer = Prefixer({"a.1": "a"}, color=False)
    assert prefixer.feed("a.1", "stdout", b"x" * MAX_HELD) == b""
    assert prefixer.feed("a.1", "stdout", b"y") == b"a | " + b"x" * MAX_HELD + b"y\n"


def test_streams_do_not_mix() -> None:
    """Half a line on one stream is not continued by the other."""
    prefixer = Prefixer({"a.1": "a"}, color=False)
    assert prefixer.feed("a.1", "stdout", b"out") == b""
    assert prefixer.feed("a.1", "stderr", b"err\n") == b"a | err\n"
    assert prefixer.feed("a.1", "stdout", b"put\n") == b"a | output\n"


def test_colours_are_stable_and_end_with_the_line() -> None:
    """An instance keeps its colour, others have another, and a line's own colour does not leak."""
    prefixer = Prefixer({"a.1": "a", "b.1": "b"}, color=True)
    first = prefixer.feed("a.1", "stdout", b"\x1b[31mred\n")
    assert first.endswith(b"\x1b[31mred" + RESET + b"\n")
    assert prefixer.feed("a.1", "stdout", b"x\n").split(b"a")[0] == first.split(b"a")[0]
    assert prefixer.feed("b.1", "stdout", b"x\n").split(b"b")[0] != first.split(b"a")[0]


def test_a_single_replica_needs_no_number() -> None:
    """`web` where there is one, `db.1` and `db.2` where there are two."""
    shown = display_names([("web", 1), ("db", 1), ("db", 2)])
    assert shown == {"web.1": "web", "db.1": "db.1", "db.2": "db.2"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colour unless NO_COLOR or TERM=dumb say no; anything else does not."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_color(Terminal())
    assert not wants_color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_color(Terminal())
