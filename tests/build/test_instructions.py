"""What the values of a Dockerfile say of themselves."""

from __future__ import annotations

import pytest

from anchor_supervisor.build.instructions import (
    Dockerfile,
    From,
    Heredoc,
    Run,
    Stage,
)


def test_instructions_are_equal_when_they_ask_for_the_same() -> None:
    """The place and the spelling do not count."""
    assert Run("make", line=1, end_line=2, text="RUN make") == Run("make", line=7)
    assert Run("make") != Run(("make",))


def test_a_heredoc_after_a_dash_loses_its_leading_tabs() -> None:
    """Only tabs, only at the beginning of lines; the content stays as written."""
    heredoc = Heredoc("E", "\ta\n\t\tb\tc\n  d\n", chomp=True)
    assert heredoc.body == "a\nb\tc\n  d\n"
    assert Heredoc("E", "\ta\n").body == "\ta\n"


def test_a_lone_heredoc_is_the_command() -> None:
    """Its body is what the shell is given, whether or not the shell knows heredocs."""
    run = Run("<<E", heredocs=(Heredoc("E", "a\nb\n"),))
    assert (run.shell_text, run.script, run.exec_form) == ("a\nb\n", None, False)


def test_a_lone_heredoc_with_an_interpreter_is_a_script() -> None:
    """`#!` at its very beginning, after the tabs of `<<-` are gone."""
    run = Run(" <<-E ", heredocs=(Heredoc("E", "\t#!/bin/awk -f\n\tx\n", chomp=True),))
    assert run.script == "#!/bin/awk -f\nx\n"


def test_other_heredocs_are_the_shells() -> None:
    """The line and each heredoc as they were written, so that the shell reads them itself."""
    run = Run("cat <<A <<-'B'", heredocs=(Heredoc("A", "a\n"), Heredoc("B", "\tb\n", chomp=True)))
    assert run.shell_text == "cat <<A <<-'B'\na\nA\n\tb\nB"
    assert run.script is None


@pytest.mark.parametrize(
    ("name", "before", "expected"),
    [
        ("a", None, 2),
        ("A", None, 2),
        ("a", 2, 0),
        ("b", 1, None),
        ("0", None, 0),
        ("2", None, 2),
        ("3", None, None),
        ("1", 1, None),
        ("²", None, None),
        ("9" * 5000, None, None),
        ("debian", None, None),
    ],
)
def test_a_stage_is_found_by_name_or_number(
    name: str, before: int | None, expected: int | None
) -> None:
    """The last of that name among those that came before; in any case; nothing is an image."""
    bases = [From("x", name="a"), From("x", name="b"), From("x", name="a")]
    assert Dockerfile("D", tuple(map(Stage, bases))).find(name, before=before) == expected
