"""Results are read as they were written, whatever has become of the file meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.cli.main import WrongUse
from measure import RESULTS, Results
from records import Record, matching, of_question, parse, read


def written(out: Path, *lines: str) -> Path:
    """A directory with these results."""
    (out / RESULTS).write_text("".join(f"{line}\n" for line in lines))
    return out


def record(question: str, **facts: object) -> str:
    """A line of a file of results."""
    return json.dumps({"question": question, **facts})


MACHINE = record("burst", machine={"kernel": "6.18"}, form="short")
FIGURE = record("burst", what="rate", value=300, unit="per second", size=10)
SAMPLES = record("burst", what="burst", n=2, unit="ms", p50=1, p95=2, p99=2, max=2)
END = record("burst", ended="complete")


def test_what_was_told_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, samples and what is missing, with their facts; and how it ended."""
    results = Results("burst", tmp_path, "short")
    assert results.samples("burst of 2", [0.004, 0.002], size=2) == 2
    results.figure("rate", 250.00049, "per second", size=2)
    results.missing("docker", "not installed", peer="docker")
    results.end()
    (answer,), complaints = read(tmp_path)
    assert complaints == []
    assert (answer.question, answer.form, answer.whole) == ("burst", "short", True)
    assert {"kernel", "processor", "cpus", "controllers", "at"} <= answer.machine.keys()
    samples, figure, missing = answer.records
    assert samples["us"] == [4000, 2000]
    assert (samples["p50"], samples["max"], samples["size"]) == (2, 4, 2)
    assert (figure["value"], figure["unit"]) == (250.0, "per second")
    assert (missing["missing"], missing["peer"]) == ("not installed", "docker")
    assert capsys.readouterr().out.splitlines() == [
        "burst of 2: p50 2.00  p95 4.00  p99 4.00  max 4.00 ms",
        "rate: 250 per second",
        "docker: not measured: not installed",
    ]


def test_a_person_may_ask_for_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of the file, on standard output."""
    results = Results("burst", tmp_path, as_json=True)
    results.figure("rate", 1, "per second")
    results.end("interrupted")
    assert capsys.readouterr().out == (tmp_path / RESULTS).read_text()


def test_the_last_answer_counts(tmp_path: Path) -> None:
    """The last one that has figures: one that broke off at once takes nothing away."""
    other = record("burst", what="rate", value=400, unit="per second")
    written(tmp_path, MACHINE, FIGURE, END, MACHINE, other, END, MACHINE)
    (answer,), complaints = read(tmp_path)
    assert [one["value"] for one in answer.records] == [400]
    assert answer.whole
    assert complaints == []


def test_answers_may_be_written_at_the_same_time(tmp_path: Path) -> None:
    """Each line says which question it belongs to."""
    machine = record("idle", machine={}, form="long")
    figure = record("idle", what="wake-ups", value=0, unit="count")
    written(tmp_path, MACHINE, machine, SAMPLES, figure, FIGURE, record("idle", ended="x"), END)
    answers, _ = read(tmp_path)
    assert [(one.question, len(one.records), one.whole) for one in answers] == [
        ("burst", 2, True),
        ("idle", 1, False),
    ]
    assert answers[1].ending == "x"
    assert [one["what"] for one in of_question(answers, "idle")] == ["wake-ups"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (MACHINE[:-5], "it is not JSON"),
        ("", "it is not JSON"),
        ("[1]", "it names no question"),
        ('{"what": "x"}', "it names no question"),
        (record("burst", value=1, unit="s"), "it does not say what was measured"),
        (record("burst", what="x"), "it has no figures"),
        (record("burst", what="x", p50=1), "it has no figures"),
        (record("burst", what="x", value="many", unit="s"), "it has no figures"),
        (record("idle", what="x", value=1, unit="s"), "nothing says on which machine it was taken"),
    ],
)
def test_a_damaged_line_is_told_and_left_out(tmp_path: Path, line: str, why: str) -> None:
    """The others are as good as before."""
    (answer,), complaints = read(written(tmp_path, MACHINE, FIGURE, line, SAMPLES, END))
    assert len(answer.records) == 2
    assert complaints == [f"line 3: {why}"]


@given(st.text())
def test_no_line_is_too_damaged(line: str) -> None:
    """Whatever stands there, it is a record or it is said why not."""
    found, why = parse(line)
    assert (found is None) == bool(why)


@pytest.mark.parametrize(
    "lines", [(), ("",), (MACHINE,), (MACHINE, END), ("nonsense", FIGURE)], ids=str
)
def test_no_results_at_all_are_a_wrong_use(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """An empty file, or one of which nothing can be used."""
    with pytest.raises(WrongUse, match="holds no results") as wrong:
        read(written(tmp_path, *lines))
    assert wrong.value.hint


@pytest.mark.parametrize("place", [".", "nowhere"])
def test_a_place_without_results_is_a_wrong_use(tmp_path: Path, place: str) -> None:
    """And so is one that is not there."""
    with pytest.raises(WrongUse, match="cannot be read: No such file or directory"):
        read(tmp_path / place)


def test_records_are_found_by_their_facts() -> None:
    """What could not be measured is no figure."""
    records: list[Record] = [
        {"a": 1, "value": 1},
        {"a": 1, "b": 2, "value": 2},
        {"a": 1, "missing": "x"},
    ]
    assert matching(records, a=1) == records[:2]
    assert matching(records, a=1, b=None) == records[:1]
    assert matching(records, c=1) == []
