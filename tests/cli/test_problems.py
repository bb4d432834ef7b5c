"""How errors reach a person: words, hints, exit codes, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anchor_supervisor.cli.problems import guarded, warn
from anchor_supervisor.errors import (
    AnchorError,
    ControlError,
    FleetError,
    HostError,
    KernelError,
    Problem,
    SupervisionBug,
    UnfitHostError,
)


def raising(error: BaseException) -> Callable[[], int]:
    """An action that fails so."""

    def action() -> int:
        raise error

    return action


PROBLEMS = [Problem("no such key `imgae`", "a.toml", 3, "containers.web.imgae", "did you mean it?")]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ControlError("it says no", hint="ask nicely"), 1, "error: it says no\nhint: ask nicely\n"),
        (HostError("too small"), 3, "error: too small\n"),
        (KernelError(1, "mount", "/run"), 3, "error: mount `/run`: Operation not permitted\n"),
        (
            FleetError([*PROBLEMS, Problem("other", "a.toml", 4)]),
            2,
            (
                "error: a.toml:3: containers.web.imgae: no such key `imgae`\n"
                "hint: did you mean it?\nerror: a.toml:4: other\n"
            ),
        ),
        (UnfitHostError([Problem("no memory limit")]), 3, "error: no memory limit\n"),
        (ExceptionGroup("two", [ExceptionGroup("in", [HostError("deep")])]), 3, "error: deep\n"),
        (HostError("a\x1b[2Jb\x07"), 3, "error: ab^G\n"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("x", [KeyboardInterrupt(), HostError("y")]), 130, ""),
        (BrokenPipeError(), 141, ""),
        (SystemExit(2), 2, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_each_error_has_its_words_and_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence, a hint and the class's exit code, on standard error alone."""
    assert guarded(raising(error), color=False) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("error", [ValueError("inside"), SupervisionBug("inside")])
def test_a_bug_leaves_a_report(
    error: Exception,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data_dir: Path,
) -> None:
    """An unexpected error exits 70 with a sentence; the traceback is in a file of its owner's."""
    monkeypatch.setattr("tempfile.tempdir", str(data_dir))
    monkeypatch.setattr("sys.argv", ["anchor", "run", "-e", "PASSWORD=secret"])
    assert guarded(raising(error), color=False) == 70
    said = capsys.readouterr().err
    assert "Traceback" not in said
    [report] = data_dir.iterdir()
    assert f"`{report}`" in said
    assert report.stat().st_mode & 0o077 == 0
    text = report.read_text()
    assert f"{type(error).__name__}: inside" in text
    assert "secret" not in text.replace("raising", "")


@pytest.mark.parametrize("error", [AnchorError("x"), SystemExit(2), ValueError("x")])
def test_a_commands_codes_are_left_to_it(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """`run` and `exec` exit 125 for whatever is ours, but not for help, and not for success."""
    monkeypatch.setattr("tempfile.tempdir", str(data_dir))
    assert guarded(raising(error), failure_code=125) == 125
    assert guarded(raising(SystemExit(0)), failure_code=125) == 0
    assert guarded(lambda: 3, failure_code=125) == 3


def test_colour_marks_the_label(capsys: pytest.CaptureFixture[str]) -> None:
    """With colour the label stands out and the words are the same."""
    warn("careful", color=True)
    assert capsys.readouterr().err == "\x1b[1;33mwarning:\x1b[0m careful\n"
