"""A Dockerfile's text made into instructions' lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build import lines

DOCKERFILE = """\
# escape=`
FROM a `
  # a comment inside
  AS b
RUN one `
two
"""


def texts(text: str) -> list[str]:
    """The instructions, each on a line."""
    return [line.text for line in lines.split(text, file="D").lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a", ["RUN a"]),
        ("  RUN a  \n\n\n# c\n\t# c\nRUN b\n", ["RUN a", "RUN b"]),
        ("RUN a \\\n  b", ["RUN a   b"]),
        ("RUN a\\\nb", ["RUN ab"]),
        ("RUN a \\ \t\nb", ["RUN a b"]),
        ("RUN a \\\n# c\n  # c\nb", ["RUN a b"]),
        ("RUN a \\\\\nRUN b", ["RUN a \\\\", "RUN b"]),
        ("RUN a \\", ["RUN a"]),
        ("\\\nRUN a", ["RUN a"]),
        ("RUN a # no comment", ["RUN a # no comment"]),
        ("\ufeffRUN a\r\nRUN b \\\r\n c\r\n", ["RUN a", "RUN b  c"]),
        (DOCKERFILE, ["FROM a   AS b", "RUN one two"]),
        ("\n# escape=`\nRUN a \\\nb", ["RUN a b"]),
        ("", []),
        ("\n\n", []),
        ("RUN a\u2028b\x0cc", ["RUN a\u2028b\x0cc"]),
    ],
)
def test_lines_continue_as_docker_has_them(text: str, expected: list[str]) -> None:
    """Comments inside vanish, spaces stay, and the escape sign is what the top of the file says."""
    assert texts(text) == expected


def test_lines_know_where_they_are() -> None:
    """The first and the last line, continuations, comments and heredocs counted."""
    found = lines.split("# c\nRUN a \\\n# c\n b\nRUN <<E\nx\nE\nRUN c", file="D").lines
    assert [(line.line, line.end_line) for line in found] == [(2, 4), (5, 7), (8, 8)]


def test_directives_are_read_at_the_top_only() -> None:
    """Each once, in any case and with spaces; the first other line ends them."""
    text = "#syntax = a/b:1  \n# ESCAPE=\\\n# check=skip=all\n# c\n# escape=`\nRUN a"
    found = lines.split(text, file="D")
    assert found.directives == {"syntax": "a/b:1", "escape": "\\", "check": "skip=all"}
    assert not found.problems


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("# escape=x\nRUN a", 1, "`x` is not an escape sign"),
        ("# syntax=a\n# syntax=b\nRUN a", 2, "`# syntax=` is there twice"),
        ("\nRUN cat <<E\nx", 2, "the heredoc `E` is never ended"),
        ("RUN cat <<E <<F\nF\nE\n", 1, "the heredoc `F` is never ended"),
    ],
)
def test_what_is_wrong_has_its_line(text: str, line: int, message: str) -> None:
    """A problem, and no exception: there may be more of them."""
    problem = lines.split(text, file="D").problems[0]
    assert (problem.file, problem.line, problem.message) == ("D", line, message)


def test_an_empty_line_inside_is_a_warning() -> None:
    """It is skipped, as docker skips it."""
    found = lines.split("RUN a \\\n\n  b", file="D")
    assert [line.text for line in found.lines] == ["RUN a   b"]
    assert [warning.line for warning in found.warnings] == [2]


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("RUN cat <<A <<B\na\nA\nb\n\nB\n", ["a\n", "b\n\n"]),
        ("RUN cat <<-A\n\ta\n\tA\n", ["\ta\n"]),
        ("RUN cat <<A\n\tA\nA\n", ["\tA\n"]),
        ("RUN cat <<A\n# no comment\\\nA", ["# no comment\\\n"]),
        ("RUN cat <<A\r\nx\r\nA\r\n", ["x\r\n"]),
        ("onbuild copy <<A /x\na\nA\n", ["a\n"]),
        ("RUN <<A\nA", [""]),
    ],
)
def test_heredocs_hold_the_lines_as_they_are(text: str, contents: list[str]) -> None:
    """Nothing in them is a comment or a continuation, and line ends stay."""
    (line,) = lines.split(text, file="D").lines
    assert [heredoc.content for heredoc in line.heredocs] == contents


@pytest.mark.parametrize("text", ['RUN ["cat", "<<A"]', "CMD cat <<A", "ENV a=<<A", "RUN [1, <<A]"])
def test_heredocs_mean_something_in_three_instructions(text: str) -> None:
    """Not in the exec form, and nowhere but in RUN, COPY and ADD."""
    found = lines.split(f"{text}\nA\n", file="D").lines
    if "[1" in text:
        assert len(found) == 1  # no JSON, so a shell's text
        return
    assert [line.heredocs for line in found] == [(), ()]


@given(st.text(st.sampled_from("RUN\n\\ \t#<A=`\r"), max_size=60))
def test_every_physical_line_is_kept(text: str) -> None:
    """The lines of the file are all there, for messages to show, and no place is beyond them."""
    found = lines.split(text, file="D")
    assert [line.rstrip("\r") for line in text.split("\n")][: len(found.physical)] == [
        line.rstrip("\r") for line in found.physical
    ]
    for line in found.lines:
        assert 1 <= line.line <= line.end_line <= len(found.physical)
