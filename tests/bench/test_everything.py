"""All questions, one after the other: what fails takes nothing from the others."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import everything
from anchor_supervisor.cli.problems import INTERRUPTED
from measure import RESULTS
from waiting import eventually

pytestmark = pytest.mark.root

PROGRAM = """\
import json, pathlib, signal, sys
question, _, out, *flags = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.default_int_handler)
with (pathlib.Path(out) / "results.jsonl").open("a") as file:
    for record in ({"machine": {}, "form": "short"}, {"what": "x", "value": 1, "unit": "s"}):
        file.write(json.dumps({"question": question, **record}) + "\\n")
    file.flush()
    if question == "slow":
        try:
            signal.pause()
        except KeyboardInterrupt:
            file.write(json.dumps({"question": question, "ended": "interrupted"}) + "\\n")
            raise SystemExit(130)
    file.write(json.dumps({"question": question, "ended": "complete"}) + "\\n")
raise SystemExit(question == "broken")
"""


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """A program in the place of the benchmarks', and what a person would say."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(everything, "PROGRAM", program)
    return argparse.Namespace(out=tmp_path / "out", only=None, short=True, json=False)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the signals as they were."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_fails_does_not_stop_the_others(
    questions: argparse.Namespace, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is named at the end, in the exit code too; the report is of all the others."""
    assert everything.ask(questions, ["one", "broken", "two"]) == 1
    told = capfd.readouterr()
    assert "warning: `broken` has no answer, or not a whole one" in told.err
    assert f"{questions.out}/results.md" in told.out.splitlines()
    lines = (questions.out / RESULTS).read_text().splitlines()
    assert [line.count('"two"') for line in lines] == [0] * 6 + [1] * 3


def test_all_well_is_no_failure(questions: argparse.Namespace) -> None:
    """Only what is asked for is asked."""
    questions.only = "two"
    assert everything.ask(questions, ["one", "two"]) == 0
    assert "one" not in (questions.out / RESULTS).read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_is_waited_for(questions: argparse.Namespace, number: signal.Signals) -> None:
    """Whoever is asked has the time to clean up; then the report, and nobody else is asked."""

    def interrupt() -> None:
        file = questions.out / RESULTS
        eventually(
            lambda: file.read_text() if file.exists() else "",
            lambda text: '"what"' in text,
            what="the question is asked",
        )
        if number == signal.SIGINT:  # the terminal's reaches everybody
            for child in _children():
                os.kill(child, number)
        os.kill(os.getpid(), number)

    person = threading.Thread(target=interrupt)
    person.start()
    try:
        assert everything.ask(questions, ["slow", "one"]) == INTERRUPTED
    finally:
        person.join()
    text = (questions.out / RESULTS).read_text()
    assert '"ended": "interrupted"' in text
    assert '"one"' not in text
    assert (questions.out / "results.md").exists()


def _children() -> list[int]:
    told = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split(maxsplit=1) for line in told.stdout.splitlines()]
    return [int(pid) for pid, words in lines if sys.executable in words]
