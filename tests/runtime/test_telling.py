"""What is told of a fleet, to whom, and under which name."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError, HostError, Problem
from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind, InstanceId
from anchor_supervisor.observability.journal import Journal, read_entries
from anchor_supervisor.observability.log_store import format_time
from anchor_supervisor.runtime.detach import Reporter
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.notify import Notifier
from anchor_supervisor.runtime.telling import Names, Teller
from anchor_supervisor.supervision import commands
from anchor_supervisor.supervision.states import HealthState, State
from log_lines import captured_logs

HOST = Image(ImageKind.HOST, "host")
WEB = InstanceId("web")


def fleet(replicas: int = 1) -> Fleet:
    """A fleet of `web`."""
    return Fleet("shop", {"web": Container("web", HOST, replicas=replicas)}, {})


def report(state: State = State.RUNNING, reason: str = "started") -> commands.Report:
    """One transition."""
    return commands.Report(WEB, State.STARTING, state, HealthState.NONE, reason)


@contextmanager
def told(place: Path, *, full: bool = False) -> Iterator[tuple[Teller, list[Names]]]:
    """A teller whose journal is in `place`, and what it said about names."""
    renamed: list[Names] = []
    log = EventLog(Journal(place))
    yield Teller(Reporter(None), log, Notifier(), full_names=full, renamed=renamed.append), renamed
    log.close()


def test_names_grow_with_the_fleet(tmp_path: Path) -> None:
    """`web` is `web.1` once there are two of it; a machine reads `web.1` always."""
    with told(tmp_path) as (teller, renamed), captured_logs() as logged:
        for replicas in (1, 2):
            teller.name(fleet(replicas))
            teller.tell(report())
    assert renamed == [{"web.1": "web"}, {"web.1": "web.1", "web.2": "web.2"}]
    assert [entry["container"] for entry in logged] == ["web", "web.1"]
    with told(tmp_path, full=True) as (teller, renamed), captured_logs() as logged:
        teller.name(fleet())
        teller.tell(report())
    assert [entry["container"] for entry in logged] == ["web.1"]
    assert renamed == [{"web.1": "web"}]


def test_what_is_kept_is_told_in_order_before_anything_else(tmp_path: Path) -> None:
    """With the time at which it was; whoever hears what a container says has heard of it before."""
    heard: list[str] = []
    with told(tmp_path) as (teller, _), captured_logs() as logged:
        teller.keep(report(reason="one"))
        between = format_time(time.time_ns())
        teller.keep(report(reason="two"))
        assert (logged, list(read_entries(tmp_path))) == ([], [])
        listen = teller.before(lambda *_: heard.extend(str(one["reason"]) for one in logged))
        listen(WEB, "stdout", b"")
        assert heard == []
        listen(WEB, "stdout", b"hello\n")
        assert heard == ["one", "two"]
        teller.keep(report(reason="three"))
        teller.keep(commands.UpdateEnded("web", commands.UpdateResult.DONE, "four"))
    assert [one["reason"] for one in logged] == ["one", "two", "three", "four"]
    first, *rest = read_entries(tmp_path)
    assert [first["reason"], *(one["reason"] for one in rest)] == ["one", "two", "three", "four"]
    assert first["time"] <= between <= rest[0]["time"]


def test_who_is_deaf_to_its_stop_signal_is_told(tmp_path: Path) -> None:
    """To the journal always; to the log where it is not one command's own terminal."""
    words = "its process 1 does not handle TERM"
    with told(tmp_path) as (teller, _), captured_logs() as logged:
        teller.name(fleet())
        teller.deaf(WEB, words)
        teller.quiet = True
        teller.deaf(WEB, words)
    assert [(one["log_level"], one["event"], one["container"]) for one in logged] == [
        ("warning", words, "web")
    ]
    kept = [{k: v for k, v in entry.items() if k != "time"} for entry in read_entries(tmp_path)]
    assert kept == [{"event": "deaf", "container": "web.1", "reason": words}] * 2


def test_updates_and_refreshes_are_told(tmp_path: Path) -> None:
    """In the log, louder where they did not come to their end, and in the journal."""
    ends = [
        commands.UpdateEnded("web", commands.UpdateResult.DONE, "every replica is new"),
        commands.UpdateEnded("web", commands.UpdateResult.PAUSED, "`web.1` has failed"),
    ]
    with told(tmp_path) as (teller, _), captured_logs() as logged:
        for end in ends:
            teller.tell(end)
        teller.tell(commands.Refresh(WEB, fleet().containers["web"], "HUP"))
    assert [(entry["log_level"], entry["event"]) for entry in logged] == [
        ("info", "update done"),
        ("warning", "update paused"),
        ("info", "refreshed"),
    ]
    kept = [{k: v for k, v in entry.items() if k != "time"} for entry in read_entries(tmp_path)]
    assert kept == [
        {"event": "update", "container": "web", "result": "done", "reason": ends[0].reason},
        {"event": "update", "container": "web", "result": "paused", "reason": ends[1].reason},
        {"event": "refresh", "container": "web.1", "signal": "HUP"},
    ]


def test_what_the_kernel_says_is_told(tmp_path: Path) -> None:
    """As a warning, and whole in the journal; a command in the foreground is not interrupted."""
    facts = {"count": 2, "limit": 64 << 20, "peak": None, "left_out": 0}
    with told(tmp_path) as (teller, _), captured_logs() as logged:
        teller.name(fleet())
        teller.note(WEB, "oom", facts)
        teller.quiet = True
        teller.note(WEB, "oom", facts)
    known = {key: value for key, value in facts.items() if value is not None}
    assert logged == [{"log_level": "warning", "event": "oom", "container": "web", **known}]
    kept = list(read_entries(tmp_path))
    assert len(kept) == 2
    for entry in kept:
        assert {**entry, "time": ""} == {"time": "", "event": "oom", "container": "web.1", **facts}


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (HostError("the disk is full", hint="make room"), ["the disk is full"]),
        (
            FleetError([Problem("no such image", "a.toml", 3), Problem("no", "a.toml", 4, "x")]),
            ["a.toml:3: no such image", "a.toml:4: x: no"],
        ),
    ],
)
def test_a_refused_change_is_told_whole(
    error: HostError | FleetError, lines: list[str], tmp_path: Path
) -> None:
    """A line each, and one for the service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(tmp_path / "notify"))
        log = EventLog(Journal(tmp_path))
        teller = Teller(Reporter(None), log, Notifier(str(tmp_path / "notify")))
        with captured_logs() as logged:
            teller.refuse(error)
        assert inbox.recv(4096).decode() == f"STATUS=change refused: {lines[0]}"
    assert [entry["event"] for entry in logged][1:] == lines


def test_who_waits_for_a_fleet_is_told_until_it_is_ready(tmp_path: Path) -> None:
    """Warnings, transitions, and the verdict; then the line is closed."""
    reader, writer = os.pipe()
    log = EventLog(Journal(tmp_path))
    teller = Teller(Reporter(writer), log, Notifier())
    with captured_logs():
        teller.warn("it runs without")
        teller.tell(report())
        teller.tell(commands.FleetReady())
        teller.tell(report())
    with os.fdopen(reader) as news:
        events = [json.loads(line)["event"] for line in news]
    assert events == ["warning", "state", "ready"]
    assert teller.said_ready
    log.close()
