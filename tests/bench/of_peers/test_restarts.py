"""Restarts are read from logs of whatever form, until there are enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import peers.restarts
from peers.corner import Corner
from peers.daemons import Store
from peers.restarts import gaps, of_store, of_supervisord
from peers.starts import CommandError

Install = Callable[[str, str], Path]

MOMENTS = (1_000_000_000, 1_050_000_000, 1_150_000_000, 1_200_000_000, 1_400_000_000)


def test_moments_are_found_in_every_log() -> None:
    """A line of ours in JSON, behind a time and a stream, or alone."""
    time = "2026-11-28T04:38:01.123456789Z"
    json_file = "".join(
        f'{{"log":"{one}\\n","stream":"stdout","time":"{time}"}}\n' for one in MOMENTS
    )
    k8s_file = "".join(f"2026-11-28T04:38:01.123456789+00:00 stdout F {one}\n" for one in MOMENTS)
    alone = "".join(f"{one}\n" for one in MOMENTS)
    assert gaps(json_file) == gaps(k8s_file) == gaps(alone) == [0.1, 0.2]


def test_a_run_that_has_not_begun_again_is_no_restart() -> None:
    """Nor is one that has not crashed."""
    assert gaps("") == []
    assert gaps(f"{MOMENTS[0]}\n{MOMENTS[1]}\n") == []


def test_a_container_is_watched_by_its_log_and_removed(install: Install, place: Corner) -> None:
    """The log is where the engine says."""
    log, asked = place.run / "log", place.run / "asked"
    log.write_text("".join(f"t stdout F {one}\n" for one in MOMENTS))
    install("podman", f'echo "$@" >>{asked}; test $1 = inspect && echo {log}; true')
    store = Store("podman", "4", "image", None)
    assert of_store(store, place, "x", 1) == [0.1]
    start, look, remove = asked.read_text().splitlines()
    assert start.endswith("-d --restart=always image /first crash 50")
    assert look == "inspect --format {{.HostConfig.LogConfig.Path}} x"
    assert remove == "rm -f -t 0 x"


def test_one_that_is_not_restarted_is_given_up_and_removed(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how often it was."""
    monkeypatch.setattr(peers.restarts, "PATIENCE", 0.1)
    log, asked = place.run / "log", place.run / "asked"
    install("docker", f'echo "$1" >>{asked}; test $1 = inspect && echo {log}; true')
    with pytest.raises(CommandError, match=r"^0 restarts of 1 within 0\.1 s$"):
        of_store(Store("docker", "20", "image", None), place, "x", 1)
    assert asked.read_text().splitlines() == ["run", "inspect", "rm"]


def test_supervisord_is_ended(install: Install, place: Corner) -> None:
    """It gets our program, and its log is read."""
    folder = place.directory / "supervisord"
    lines = "\\n".join(map(str, MOMENTS))
    install("supervisord", f'printf "{lines}\\n" >{folder}/one.log; exec sleep 30')
    assert of_supervisord(Path("/image"), place, 2) == [0.1, 0.2]
    settings = (folder / "supervisord.conf").read_text()
    assert "command = /image/first crash 50\n" in settings
