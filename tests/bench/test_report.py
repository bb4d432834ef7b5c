"""The page is made of the figures, and of nothing else."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import report
from anchor_program import ROOT, Result
from anchor_supervisor.cli.main import WrongUse
from measure import RESULTS
from records import read
from report import PICTURES, TEMPLATE, make_report, render
from summary import GOALS, NOT_MEASURED

RECORDED: Final = Path(__file__).parent / "recorded"
DOCS: Final = ROOT / "docs"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A directory with results as questions have written them; one line is cut off."""
    shutil.copy(RECORDED / RESULTS, tmp_path)
    return tmp_path


def test_the_page_of_recorded_results(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line; what stands in `expected.md` has been looked at by a person."""
    monkeypatch.setattr(report, "TEMPLATE", RECORDED / "template.md")
    monkeypatch.setattr(report, "PROFILE", recorded / "nothing")
    page, *_ = make_report(recorded, plots=False)
    assert page.read_text() == (RECORDED / "expected.md").read_text()


def test_a_damaged_line_is_warned_of(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is left out, and the report made all the same."""
    assert list(make_report(recorded, plots=False)) == [recorded / report.TABLE]
    told = capsys.readouterr().err
    assert re.fullmatch(r"warning: `.*/results.jsonl`, line \d+: it is not JSON; left out\n", told)


def test_the_template_has_a_place_for_everything(recorded: Path) -> None:
    """Every picture is in it, and no place is left open."""
    answers, _ = read(recorded)
    page = render(answers, {name: f"{name}.svg" for name in PICTURES})
    assert "{{" not in page
    for name, words in PICTURES.items():
        assert f"![{words}]({name}.svg)" in page
    questions = set(re.findall(r"\{\{table (\w+)\}\}", TEMPLATE.read_text()))
    assert {"startup", "burst", "restart", "ready", "teardown", "idle", "memory"} <= questions


def test_a_profile_that_was_written_is_taken_in(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written by hand: what a profile means no program can say."""
    profile = recorded / "profile.md"
    profile.write_text("### Where the time goes\n\nInto links.\n\n")
    monkeypatch.setattr(report, "PROFILE", profile)
    assert "\n\n### Where the time goes\n\nInto links.\n\n" in render(read(recorded)[0], {})


def test_a_place_that_nothing_fits_is_a_mistake(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template with a typo is told, not rendered."""
    template = recorded / "template.md"
    template.write_text("{{sumary}}\n")
    monkeypatch.setattr(report, "TEMPLATE", template)
    with pytest.raises(LookupError, match="`sumary`"):
        render(read(recorded)[0], {})


def test_without_figures_every_goal_is_not_measured() -> None:
    """And none is reached."""
    rows = [goal.row([]) for goal in GOALS]
    assert all(NOT_MEASURED in row and "yes" not in row for row in rows)
    assert all(row.count("|") == 7 for row in rows)


def test_a_page_elsewhere_has_its_pictures_and_results_beside_it(
    recorded: Path, tmp_path: Path
) -> None:
    """`docs/x.md` has `docs/x/`; what is kept there makes the same page again."""
    page = tmp_path / "docs/x.md"
    page.parent.mkdir()
    made = list(make_report(recorded, page))
    assert made[0] == page
    assert {one.parent for one in made[1:]} == {tmp_path / "docs/x"}
    assert {one.suffix for one in made[1:]} == {".svg", ".jsonl"}
    text = page.read_text()
    assert "(x/copy-on-write.svg)" in text
    again = tmp_path / "again.md"
    list(make_report(tmp_path / "docs/x", again, plots=False))
    without = re.sub(r"!\[.*\n\n", "", text)
    assert again.read_text() == without


def test_without_the_library_that_draws_there_is_the_page(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is wanted for pictures alone, and what to install is said."""
    monkeypatch.setitem(sys.modules, "plots", None)
    assert list(make_report(recorded)) == [recorded / report.TABLE]
    assert "no pictures: plots is not installed" in capsys.readouterr().err


def test_a_directory_is_no_page(recorded: Path) -> None:
    """`--into docs` is a slip."""
    with pytest.raises(WrongUse, match="which is a directory"):
        list(make_report(recorded, recorded))


def test_our_own_page_is_made_by_the_command() -> None:
    """`docs/benchmarks.md` is what the results beside it make, and nobody has written in it."""
    pictures = {one.stem: f"benchmarks/{one.name}" for one in (DOCS / "benchmarks").glob("*.svg")}
    answers, complaints = read(DOCS / "benchmarks")
    assert complaints == []
    assert render(answers, pictures) == (DOCS / "benchmarks.md").read_text()
    assert {answer.question for answer in answers} >= {"startup", "burst", "restart", "peers"}


def test_the_command_says_what_it_has_made(ask: Callable[..., Result], recorded: Path) -> None:
    """A path a line. Nothing to make a report of is a wrong use."""
    told = ask("report", recorded, "--no-plots")
    assert (told.returncode, told.stdout) == (0, f"{recorded}/results.md\n")
    (recorded / RESULTS).write_text("")
    told = ask("report", recorded)
    assert (told.returncode, told.stdout) == (2, "")
    assert f"error: `{recorded}/results.jsonl` holds no results\nhint: " in told.stderr
    told = ask("report", recorded / "nowhere")
    assert told.returncode == 2
    assert "cannot be read: No such file or directory" in told.stderr
