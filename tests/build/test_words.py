"""How a Dockerfile's line falls into words."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build import words
from anchor_supervisor.build.instructions import Heredoc
from anchor_supervisor.fleet.wording import Mistake

HARD = st.text(st.sampled_from("ab '\"\\`<-\t=$[]{},1"), max_size=24)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  a\tb ", ["a", "b"]),
        ('a="b c" d', ['a="b c"', "d"]),
        ("a='b c' d", ["a='b c'", "d"]),
        (r"a=b\ c d", [r"a=b\ c", "d"]),
        (r'a="b\" c" d', [r'a="b\" c"', "d"]),
        (r"a='b\' c", [r"a='b\'", "c"]),
        (r"a='b c", [r"a='b c"]),
        ("a\\", ["a"]),
        ('""', ['""']),
    ],
)
def test_quotes_and_escapes_keep_spaces_together(text: str, expected: list[str]) -> None:
    """They stay where they are, for expansion to take them away."""
    assert words.quoted_words(text, "\\") == expected


@given(HARD)
def test_words_hold_all_but_the_white_space(text: str) -> None:
    """Nothing but unquoted white space, and an escape at the very end, gets lost."""
    found = words.quoted_words(text, "`")
    kept = "".join(found).replace(" ", "").replace("\t", "")
    every = text.replace(" ", "").replace("\t", "")
    assert kept in (every, every.removesuffix("`"))


@given(st.lists(st.text(st.sampled_from("ab '\"\\="), min_size=1, max_size=6), max_size=4))
def test_quoted_flags_come_back_whole(values: list[str]) -> None:
    """Quotes and escapes go, spaces inside stay; what follows the flags is left as it was."""
    escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    line = " ".join([*(f'--x="{value}"' for value in escaped), "rest  'of it'"])
    assert words.take_flags(line, "\\") == ([f"--x={value}" for value in values], "rest  'of it'")


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("a --b", [], "a --b"),
        ("--a -b", ["--a"], "-b"),
        ("--a -- --b c", ["--a"], "--b c"),
        ("--a", ["--a"], ""),
        ("--a='b c' d", ["--a=b c"], "d"),
        (r"--a=b\ c d", ["--a=b c"], "d"),
    ],
)
def test_flags_end_where_docker_ends_them(text: str, flags: list[str], rest: str) -> None:
    """At the first word without two dashes, or after a lone `--`."""
    assert words.take_flags(text, "\\") == (flags, rest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a", "b c"]', ("a", "b c")),
        (' [ "a" ] ', ("a",)),
        ("[]", ()),
        ('["\\u00e9\\ud800"]', ("é\ufffd",)),
        ("['a']", None),
        ('["a",]', None),
        ('["a"] b', None),
        ("a", None),
        ("[" * 100_000, None),
    ],
)
def test_the_exec_form_is_json(text: str, expected: tuple[str, ...] | None) -> None:
    """A list of strings; what is no JSON at all is text, as docker has it."""
    assert words.json_words(text) == expected


@pytest.mark.parametrize("text", ["[1]", '["a", ["b"]]', "[null]"])
def test_the_exec_form_holds_strings_only(text: str) -> None:
    """Other JSON lists are mistakes and not text."""
    with pytest.raises(Mistake, match="strings only"):
        words.json_words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN cat <<EOF", [Heredoc("EOF")]),
        ("RUN cat << EOF", [Heredoc("EOF")]),
        ("RUN cat <<-EOF", [Heredoc("EOF", chomp=True)]),
        ("RUN cat <<'EOF'", [Heredoc("EOF", expand=False)]),
        ('RUN cat <<-"E F"', [Heredoc("E F", expand=False, chomp=True)]),
        ("RUN cat 3<<A 4<<B", [Heredoc("A", descriptor=3), Heredoc("B", descriptor=4)]),
        (r"RUN cat <<E\ F", [Heredoc("E F")]),
        ("RUN cat <<<EOF", []),
        ("RUN echo $((1<<2))", []),
        ("RUN echo '<<EOF'", []),
        ('RUN echo "<<EOF', []),
        ("RUN cat <<", []),
        ('RUN cat <<""', []),
        ("COPY <<a <<b /x", [Heredoc("a"), Heredoc("b")]),
    ],
)
def test_heredocs_are_seen_where_a_shell_sees_them(text: str, expected: list[Heredoc]) -> None:
    """Several on a line, quoted, with dashes and numbers; not in quotes, not as `<<<`."""
    assert words.heredocs(text) == expected


@given(HARD)
def test_no_line_is_too_odd(text: str) -> None:
    """Whatever a line is made of, taking it apart raises nothing."""
    assert isinstance(words.heredocs(text), list)
    flags, rest = words.take_flags(text, "\\")
    assert all(flag.startswith("--") for flag in flags)
    assert len(rest) <= len(text)


@pytest.mark.parametrize("text", ["x" * 10**6, '"' + "\\x" * 10**6 + '"', "<<x " * 10**5])
def test_long_lines_take_no_longer_than_they_are(text: str) -> None:
    """Letter by letter onto a growing text would take minutes here."""
    started = time.monotonic()
    assert words.quoted_words(text, "\\")
    assert words.take_flags(f"--{text}", "\\")[0]
    assert isinstance(words.heredocs(f"<< {text}"), list)
    assert time.monotonic() - started < 30
