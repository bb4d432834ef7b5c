"""`anchor up`: what the one who waits is told, and the exit code of each verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.cli import up as program
from anchor_supervisor.cli.main import main
from anchor_supervisor.errors import ControlError
from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind, LimitsMode
from anchor_supervisor.runtime.detach import Background, Reporter

SHOP = Fleet("shop", {"web": Container("web", Image(ImageKind.HOST, "host"))}, {})
STATE = {"event": "state", "name": "web.1", "state": "running", "health": "none", "reason": "up"}
UP = Callable[..., int]


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> UP:
    """Bring a fleet up whose supervisor tells this news and exits with `code`, or goes on."""
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(data_dir))

    def run(*news: dict[str, Any], code: int | None = None, timeout: float = 30.0) -> int:
        reader, writer = os.pipe()
        for item in news:
            os.write(writer, json.dumps(item).encode() + b"\n")
        if code is not None:
            os.close(writer)
        background = Background(os.getpid(), reader)
        monkeypatch.setattr(Background, "exit_code", lambda _: code)
        monkeypatch.setattr(program, "fork_supervisor", lambda _: background)
        try:
            return program.up(SHOP, timeout=timeout)
        finally:
            os.close(reader)
            if code is None:
                os.close(writer)

    return run


def test_a_fleet_that_is_ready(up: UP, capsys: pytest.CaptureFixture[str]) -> None:
    """Its transitions are told as they come; then 0, and the supervisor goes on."""
    healthy = {**STATE, "health": "healthy", "reason": "a probe succeeded"}
    assert up(STATE, healthy, {"event": "ready"}) == 0
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[:2] == ["web.1: running (up)", "web.1: healthy (a probe succeeded)"]
    assert lines[2].startswith("fleet `shop` is up (")


def test_a_fleet_of_jobs_that_is_done(up: UP, capsys: pytest.CaptureFixture[str]) -> None:
    """The supervisor's own exit code."""
    done = {"event": "done", "reason": "job `x` failed", "exit_code": 1}
    assert up(done, code=1) == 1
    assert "fleet `shop` is done: job `x` failed" in capsys.readouterr().err


def test_a_fleet_that_cannot_become_ready(up: UP) -> None:
    """It keeps running, for `anchor why` to be asked."""
    with pytest.raises(ControlError, match=r"cannot become ready: `web` gave up") as caught:
        up({"event": "unready", "reason": "`web` gave up"})
    assert caught.value.exit_code == 1
    assert "anchor why" in (caught.value.hint or "")


def test_a_fleet_that_is_not_ready_in_time(up: UP) -> None:
    """It goes on; who waits does not."""
    with pytest.raises(ControlError, match=r"`shop` is not ready after 20ms") as caught:
        up(STATE, timeout=0.02)
    assert "anchor ps" in (caught.value.hint or "")


def test_a_supervisor_that_dies(up: UP, data_dir: Path) -> None:
    """Its exit code, and where its own words are."""
    with pytest.raises(ControlError, match=r"ended with exit code 137") as caught:
        up(STATE, code=137)
    assert str(data_dir / "logs/shop/supervisor.log") in (caught.value.hint or "")


def test_a_supervisors_error_is_told_as_ours(up: UP, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem with its hint, and its exit code; warnings and later news do no harm."""
    error = {"event": "error", "message": "a\nb", "hint": None, "exit_code": 3}
    problems = {"problems": [["x.toml:3: no `a`", "make it"], ["x.toml:4: no `b`", None]]}
    strange = {"event": "of a later version", "what": 1}
    warning = {"event": "warning", "message": "no limits"}
    assert up(strange, warning, {**error, **problems}, code=3) == 3
    assert capsys.readouterr().err.splitlines() == [
        "warning: no limits",
        "error: x.toml:3: no `a`",
        "hint: make it",
        "error: x.toml:4: no `b`",
    ]
    assert up({**error, "message": "no cgroup2", "problems": []}, code=3) == 3
    assert capsys.readouterr().err == "error: no cgroup2\n"


def test_an_interrupt_stops_the_fleet(
    up: UP, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while waiting means: not after all."""
    cancelled = []

    def interrupted(_: Background) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Background, "read", interrupted)
    monkeypatch.setattr(Background, "cancel", lambda _: cancelled.append(True))
    with pytest.raises(KeyboardInterrupt):
        up(STATE)
    assert cancelled == [True]
    assert "stopping the fleet" in capsys.readouterr().err


def test_the_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """-f, ./fleet.toml without it, --wait-timeout, --limits; what is wrong exits 2."""
    given: list[tuple[str, str, float, bool, LimitsMode | None]] = []

    def noted(fleet: Fleet, *, timeout: float, build: bool, limits: LimitsMode | None) -> int:
        given.append((fleet.name, fleet.limits.value, timeout, build, limits))
        return 0

    monkeypatch.setattr(program, "up", noted)
    monkeypatch.chdir(tmp_path)
    for name in ("fleet", "shop"):
        Path(f"{name}.toml").write_text('[containers.web]\nimage = "host"\ncommand = ["true"]\n')
    assert main(["up"]) == 0
    words = ["-f", "shop.toml", "--wait-timeout", "2m", "--limits", "best-effort", "--build"]
    assert main(["up", *words]) == 0
    assert given == [
        ("fleet", "strict", 60.0, False, None),
        ("shop", "best-effort", 120.0, True, LimitsMode.BEST_EFFORT),
    ]
    assert main(["up", "--wait-timeout", "soon"]) == 2
    assert "--wait-timeout" in capsys.readouterr().err
    assert main(["up", "-f", "gone.toml"]) == 2


def test_the_childs_errors_reach_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told over the pipe before they are told to the log."""
    from anchor_supervisor.errors import FleetError, Problem
    from anchor_supervisor.runtime import service

    def refuse(*_: object) -> None:
        raise FleetError([Problem("no `a`", file="x.toml", line=3, hint="make it")])

    monkeypatch.setattr(service, "supervise", refuse)
    reader, writer = os.pipe()
    assert program._supervise(SHOP, Reporter(writer), None, None) == 2
    os.close(writer)
    news = json.loads(os.read(reader, 4096))
    os.close(reader)
    assert news["event"] == "error"
    assert news["exit_code"] == 2
    assert news["problems"] == [["x.toml:3: no `a`", "make it"]]
