"""`anchor bench` finds the benchmarks beside the package, and becomes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from anchor_program import ROOT, Anchor


def test_it_becomes_the_benchmarks(anchor: Anchor) -> None:
    """What follows the verb is theirs, options too; so is the exit code."""
    for question in ("startup", "all", "report"):
        told = anchor("bench", question, "--help")
        assert told.returncode == 0, told.stderr
        assert f"usage: anchor bench {question}" in told.stdout
    wrong = anchor("bench", "strtup")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: unknown question `strtup`\nhint: did you mean `startup`?\n"


def test_without_a_question_there_is_an_overview(anchor: Anchor) -> None:
    """As `anchor` itself does."""
    told = anchor("bench")
    assert told.returncode == 0
    assert "\n  startup " in told.stdout


def test_the_help_names_every_question(anchor: Anchor) -> None:
    """What the benchmarks can be asked, `anchor bench --help` says, without being them."""
    overview = anchor("bench").stdout.partition("questions:\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in overview.splitlines()]
    assert {"startup", "peers", "report"} <= set(names)
    told = anchor("bench", "--help").stdout.partition("questions:\n")[2].partition("\n\n")[0]
    assert set(names) <= set(told.split())


def test_a_package_alone_has_no_benchmarks(anchor: Anchor, tmp_path: Path) -> None:
    """Installed as a wheel is, the package has no folder beside it, and says where there is one."""
    shutil.copytree(
        ROOT / "anchor_supervisor",
        tmp_path / "anchor_supervisor",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    told = anchor("bench", "startup", PYTHONPATH=os.fspath(tmp_path))
    assert (told.returncode, told.stdout) == (3, "")
    error, hint = told.stderr.splitlines()
    assert error == f"error: the benchmarks are not installed: there is no `{tmp_path}/bench`"
    assert hint.startswith("hint: they are in the source tree")
