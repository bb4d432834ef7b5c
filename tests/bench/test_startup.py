"""The questions, asked for real with the least of everything: each is answered, and ends clean."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import idle
from anchor_program import ROOT, Result
from anchor_supervisor.cli.problems import INTERRUPTED
from arithmetic import RANKS, ROUND
from harness import PHASES
from measure import RESULTS, Results, own_directories
from programs import MIB
from records import Answer, matching, read
from startup import STRATEGIES
from taken import Kind, counted, rest
from waiting import DEADLINE, eventually

pytestmark = [pytest.mark.root, pytest.mark.native]

SMALL: dict[str, tuple[str, ...]] = {
    "burst": ("--sizes", "3", "--times", "1"),
    "restart": ("--count", "3"),
    "ready": ("--length", "2", "--times", "1"),
    "teardown": ("--sizes", "3", "--times", "1"),
    "memory": ("--sizes", "1,3"),
    "commands": ("--times", "1", "--stacks", "1", "--sizes", "2"),
    "unpack": ("--times", "1", "--sizes", "2"),
}


def answered(ask: Callable[..., Result], out: Path, question: str, *options: str) -> Answer:
    """Ask it; its answer, which must be a whole one."""
    told = ask(question, "--out", out, *options)
    assert told.returncode == 0, told.stderr
    (answer,), complaints = read(out)
    assert complaints == []
    assert answer.whole
    return answer


def test_what_copy_on_write_buys(ask: Callable[..., Result], tmp_path: Path) -> None:
    """Every strategy has its starts with their phases, or it is said why not; and the floor's."""
    small = ("--count", "3", "--copies", "1", "--sizes", "1,2")
    answer = answered(ask, tmp_path, "startup", *small)
    for strategy in STRATEGIES:
        missing = [
            one for one in answer.records if one.get("strategy") == strategy and "missing" in one
        ]
        for network in (True, False):
            facts: dict[str, Any] = {"strategy": strategy, "image": "2 MiB", "network": network}
            starts = matching(answer.records, **facts, point="first", cache="warm", ready=None)
            assert missing or [one["gap_ms"] for one in starts] == [0, 20]
            for one in starts:
                assert 0 < one["p50"] <= one["max"]
                assert one["ratio_to_floor"] > 0
                assert len(one["us"]) == one["n"]
            phases = [one for one in matching(answer.records, **facts) if "phase" in one]
            assert missing or {one["phase"] for one in phases} == {*PHASES, "rest"}
    written = {
        one["strategy"]: one["written_kib"]
        for one in matching(answer.records, image="2 MiB", point="first", network=True, gap_ms=0)
        if "written_kib" in one
    }
    assert written["copy"] > 2048 > written["overlay"] >= written["bind"]
    assert matching(answer.records, strategy="overlay", cache="cold", image="2 MiB")
    assert len(matching(answer.records, strategy="floor", point="reaped", image="1 MiB")) == 4
    ready = matching(answer.records, ready=True, image="1 MiB", strategy="overlay", point="first")
    assert [one["gap_ms"] for one in ready] == [0, 20]
    assert matching(answer.records, independence=True)
    assert not matching(answer.records, first_write=True)  # there is no file that is large enough
    assert matching(answer.records, memory="container", strategy="overlay")


def test_a_first_write_is_timed_in_a_file_of_the_image(
    ask: Callable[..., Result], tmp_path: Path
) -> None:
    """In the largest; and it is the time that it takes which is told, not the time of day."""
    image = tmp_path / "root"
    image.mkdir()
    (image / "large").write_bytes(bytes(2 * MIB))
    options = ("--image", str(image), "--strategies", "overlay", "--count", "1", "--copies", "1")
    answer = answered(ask, tmp_path, "startup", *options)
    (writes,) = matching(answer.records, first_write=True)
    assert writes["what"] == "overlay: first write to a file of 2 MiB"
    assert 0 < writes["max"] < DEADLINE * 1000


def test_the_rest_is_what_none_of_the_phases_is() -> None:
    """Start by start; where they do not go together, what the medians leave."""
    assert rest([10, 20, 90], [[1, 2, 3], [4, 4, 80]]) == 7
    assert rest([10, 20, 90], [[1, 2, 3], [4]]) == 14
    assert rest([1], []) == 1


def test_phases_leave_out_what_does_not_count() -> None:
    """The first of each turn, where starts come one after the other."""
    kind = Kind("", Path(), "overlay", ROUND + 2, 1, 1)
    times = [float(number) for number in range(ROUND + 4)]
    assert counted(times, kind) == [one for one in times if one not in {0, ROUND + 1}]
    assert counted(times[:5], kind) == times[:5]
    wide = Kind("", Path(), "overlay", ROUND + 2, 2, 1)
    assert counted(times, wide) == times


@pytest.mark.parametrize("question", SMALL)
def test_every_other_question_has_an_answer(
    question: str, ask: Callable[..., Result], tmp_path: Path
) -> None:
    """Figures that are figures: above nothing, and in order."""
    answer = answered(ask, tmp_path, question, *SMALL[question])
    told = [one for one in answer.records if "p50" in one]
    assert told or question == "memory"
    for one in told:
        figures = [one[rank] for rank in RANKS]
        assert figures[0] > 0
        assert figures == sorted(figures)


def test_an_idle_fleet_is_looked_at(
    run_dir: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor and the processes of its containers, each counted."""
    monkeypatch.setattr(idle, "SETTLING", 0.0)
    results = Results("idle", tmp_path)
    with own_directories() as directory:
        idle.ask(argparse.Namespace(sizes=(3,), seconds=0.1), results, directory)
    results.end()
    (answer,), _ = read(tmp_path)
    (woken,) = matching(answer.records, measured="wake-ups")
    assert woken["processes"] >= 4
    assert woken["value"] >= 0
    assert matching(answer.records, measured="processor")


def test_a_root_of_ones_own_stays_as_it_was(
    ask: Callable[..., Result], tmp_path: Path, data_dir: Path
) -> None:
    """It is copied, and what a root must have is put into the copy."""
    root = data_dir / "root"
    (root / "usr/share").mkdir(parents=True)
    (root / "usr/share/words").write_text("x" * 100_000)
    answer = answered(
        ask,
        tmp_path,
        "startup",
        "--image",
        str(root),
        "--count",
        "1",
        "--strategies",
        "overlay,bind",
    )
    assert matching(answer.records, image="root", strategy="bind", point="first")
    assert sorted(path.name for path in root.rglob("*")) == ["share", "usr", "words"]


def test_an_interrupt_leaves_nothing(
    programs: dict[str, str], tmp_path: Path, data_dir: Path
) -> None:
    """In the middle of a burst: what is up comes down, and the results say how it ended."""
    options = ("--sizes", "2,20", "--times", "1", "--out", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, str(ROOT / "bench"), "burst", *options],
        env={**programs, "TMPDIR": str(data_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        eventually(
            lambda: (tmp_path / RESULTS).read_text() if (tmp_path / RESULTS).exists() else "",
            lambda text: '"what"' in text,
            what="the first burst is over",
            deadline=6 * DEADLINE,
        )
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == INTERRUPTED
    *_, last = (tmp_path / RESULTS).read_text().splitlines()
    assert json.loads(last) == {"question": "burst", "ended": "interrupted"}
    assert not list(data_dir.glob("anchor-bench-*"))
