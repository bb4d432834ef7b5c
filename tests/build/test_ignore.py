"""`.dockerignore`."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build.ignore import Ignore, ignore, read_ignore
from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.wording import Mistake

NAME = st.text(st.sampled_from("ab."), min_size=1, max_size=3).filter(lambda n: n.strip("."))
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
PART = st.text(st.sampled_from("ab.*?"), min_size=1, max_size=4).filter(
    lambda part: part.strip(".") and "**" not in part
)
PATTERN = st.lists(PART | st.just("**"), min_size=1, max_size=6).map("/".join)


def matches(names: list[str], parts: list[str]) -> bool:
    """Whether a path, or a directory above it, matches: tried name by name."""
    if not parts:
        return True
    if parts == ["**"]:
        return bool(names)
    if parts[0] == "**":
        return any(matches(names[skipped:], parts[1:]) for skipped in range(len(names)))
    wanted = re.escape(parts[0]).replace(r"\*", ".*").replace(r"\?", ".")
    return bool(names and re.fullmatch(wanted, names[0])) and matches(names[1:], parts[1:])


@given(PATH, PATTERN)
def test_a_pattern_matches_as_trying_name_by_name_would(path: str, pattern: str) -> None:
    """`*` inside a name, `**` any number of names, and what is beneath a match."""
    assert ignore([pattern]).excluded(path) == matches(path.split("/"), pattern.split("/"))


@given(PATH, st.lists(st.tuples(st.booleans(), PATTERN), max_size=5))
def test_the_last_pattern_that_matches_decides(path: str, patterns: list[tuple[bool, str]]) -> None:
    """Left out by the plain ones, taken back by those with a `!`."""
    found = ignore(f"{'!' * exception}{pattern}" for exception, pattern in patterns)
    verdicts = [
        not exception
        for exception, pattern in patterns
        if matches(path.split("/"), pattern.split("/"))
    ]
    assert found.excluded(path) == (verdicts[-1] if verdicts else False)


@given(PATH, PATH, st.lists(st.tuples(st.booleans(), PATTERN), max_size=5))
def test_what_is_pruned_holds_nothing_that_is_wanted(
    directory: str, below: str, patterns: list[tuple[bool, str]]
) -> None:
    """Whatever is beneath a directory that nobody needs to look into, is left out."""
    found = ignore(f"{'!' * exception}{pattern}" for exception, pattern in patterns)
    if found.prunes(directory):
        assert found.excluded(directory)
        assert found.excluded(f"{directory}/{below}")


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("a", ["a", "a/b"], ["ab", "b/a"]),
        ("/a", ["a"], ["b/a"]),
        ("./a/", ["a", "a/b"], ["b/a"]),
        ("a/../b", ["b"], ["a"]),
        ("*.o", ["x.o", ".o", "x.o/y"], ["d/x.o"]),
        ("*/*.o", ["d/x.o"], ["x.o", "d/e/x.o"]),
        ("**/*.o", ["x.o", "d/e/x.o"], ["x.oo"]),
        ("**.o", ["x.o", "d/x.o", "d/.o"], ["x.oo"]),
        ("**/a", ["a", "b/a", "b/a/c"], ["ba", "b/aa"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("**", ["a", "a/b"], []),
        ("a?", ["ab"], ["a", "a/", "abc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx"], ["ax"]),
        (r"[\]\-]", ["]", "-"], ["\\"]),
        (r"\*", ["*"], ["a"]),
        (r"a\?b", ["a?b"], ["axb"]),
        ("a+(b)|c$", ["a+(b)|c$"], ["aab"]),
        (".", [], ["a", "."]),
        ("..", [], ["a"]),
        ("/", [], ["a"]),
        (" a b ", ["a b"], ["a"]),
    ],
)
def test_patterns_mean_what_docker_means(
    pattern: str, inside: list[str], outside: list[str]
) -> None:
    """With the quirks of its matcher."""
    found = ignore([pattern])
    assert [path for path in [*inside, *outside] if found.excluded(path)] == [
        *inside,
        *(["."] if pattern == "." else []),
    ]


def test_the_example_of_docker() -> None:
    """Comments, empty lines, a byte order mark, and lines that end as on Windows."""
    text = (
        "\ufeff# comment\r\n\r\n*/temp*\r\n*/*/temp*\n temp? \n*.md\n!README*.md\nREADME-secret.md"
    )
    found = read_ignore(text, file=".dockerignore")
    out = ["a/temporary.txt", "a/b/temp", "tempa", "x.md", "README-secret.md"]
    kept = ["temp", "a/b/c/temp", "README.md", "README-1.md", "a/x.md", "#"]
    assert [path for path in [*out, *kept] if found.excluded(path)] == out


def test_a_comment_begins_in_the_first_column() -> None:
    """Elsewhere `#` is a letter, as docker has it."""
    assert read_ignore(" #a\n#b", file="i").excluded("#a")
    assert not read_ignore(" #a\n#b", file="i").excluded("#b")


def test_a_directory_is_entered_where_something_in_it_may_be_wanted() -> None:
    """And left alone where no exception begins as it does."""
    found = read_ignore("node_modules\ndocs\n!docs/keep.md\n!a*/x", file="i")
    assert found.prunes("node_modules")
    assert not found.prunes("docs")
    assert found.prunes("docs/other")
    assert not found.prunes("src")
    assert not ignore(["a*", "!a*/x"]).prunes("ab")
    assert not ignore(["a", "!**/x"]).prunes("a")


def test_every_wrong_pattern_is_reported() -> None:
    """With its line."""
    with pytest.raises(FleetError) as caught:
        read_ignore("a\n[\n!\n\\\n[b-a]\n[]\n[a-]\n", file="i")
    assert [(problem.line, problem.file) for problem in caught.value.problems] == [
        (line, "i") for line in range(2, 8)
    ]


@given(st.text(max_size=30) | st.text(st.sampled_from("[]^-\\*?!/a.#"), max_size=30))
def test_any_text_is_read_or_wrong(text: str) -> None:
    """Nothing but FleetError is raised, whatever the patterns are made of."""
    with contextlib.suppress(FleetError):
        found = read_ignore(text, file="i")
        assert isinstance(found, Ignore)
        assert found.excluded("a/b") in (True, False)


def test_a_wrong_exclude_is_a_mistake() -> None:
    """Whoever reads the flag knows its place."""
    with pytest.raises(Mistake, match="is not closed well"):
        ignore(["[a"])


def test_no_pattern_is_slow() -> None:
    """Wildcards that match everything but the end, which backtracking would not survive."""
    started = time.monotonic()
    assert not ignore(["*a" * 20 + "b"]).excluded("a" * 200)
    assert not ignore(["**/a/" * 12 + "b"]).excluded("a/" * 200 + "a")
    assert time.monotonic() - started < 5
