"""`bench peers` as a whole: what it can be asked, and real containers of who is always here."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import peers
from anchor_program import ROOT
from anchor_supervisor.cli.main import WrongUse
from options import settled
from peers.party import NAMES

Record = dict[str, object]


def options(*words: str) -> argparse.Namespace:
    """What these words ask for."""
    parser = argparse.ArgumentParser()
    peers.add_options(parser)
    parser.add_argument("--short", action="store_true")
    return settled(parser.parse_args(words))


def test_both_forms_ask_everybody_for_everything() -> None:
    """But for no daemon that nobody started; the short one asks for less of each."""
    long, short = options(), options("--short")
    assert long.only == short.only == NAMES
    assert long.work == short.work == ("single", "many", "stack", "restart")
    assert not long.with_dockerd
    assert long.stacks == (10, 50)
    assert short.stacks == (10,)
    assert short.count < long.count


def test_parts_can_be_asked_for() -> None:
    """Of the work, and of those who do it."""
    chosen = options("--work", "stack,restart", "--only", "docker compose,anchor")
    assert chosen.work == ("stack", "restart")
    assert chosen.only == ("docker compose", "anchor")
    with pytest.raises(WrongUse, match="`--only` has `rkt`"):
        options("--only", "rkt")
    with pytest.raises(WrongUse, match="`--work` has `all`"):
        options("--work", "all")


def command(*words: str) -> list[str]:
    """Ask for peers with these words."""
    return [sys.executable, str(ROOT / "bench"), "peers", "--short", "--json", *words]


def records(text: str) -> list[Record]:
    """What was answered."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.root
@pytest.mark.native
def test_real_containers_of_everybody_who_needs_no_daemon(programs: dict[str, str]) -> None:
    """Whoever is installed has figures, whoever is not has a reason; nothing is left."""
    known = "process,anchor,unshare,bwrap,crun,runc,lxc,systemd-nspawn"
    done = subprocess.run(
        command("--count", "2", "--work", "single,many,restart", "--only", known),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=programs,
    )
    assert done.returncode == 0, done.stderr
    answers = records(done.stdout)
    assert answers[-1]["ended"] == "complete"
    told = {str(one["what"]) for one in answers if "what" in one}
    assert {"C floor: reaped", "no container: whole command", "unshare: whole command"} <= told
    assert "anchor run, network: first instruction" in told
    assert "anchor, in a running fleet: 2 containers ended" in told
    assert "anchor: crash to the next first instruction" in told
    for name in ("bwrap", "crun", "runc", "systemd-nspawn"):
        if shutil.which(name, path=programs["PATH"]) is None:
            missing = [one for one in answers if one.get("what") == name]
            assert [one["missing"] for one in missing] == ["not installed"]
        else:
            assert f"{name}: 2 containers ended" in told


@pytest.mark.root
def test_an_interrupt_ends_it_and_what_it_started(programs: dict[str, str], tmp_path: Path) -> None:
    """Where containers wait: they are gone, and the results say that they are not whole."""
    words = command(
        *("--count", "1000", "--work", "many", "--only", "unshare", "--out", str(tmp_path)),
    )
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=programs) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("many: "):
                process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 130
    answers = records((tmp_path / "results.jsonl").read_text())
    assert answers[-1]["ended"] == "interrupted"
