"""Facts as operators see them: pure, and true to what the core says."""

from __future__ import annotations

import json

from attrs import evolve

from anchor_supervisor.control.shapes import LogLine
from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    ExecProbe,
    Fleet,
    Health,
    HttpProbe,
    Image,
    ImageKind,
    InstanceId,
    Limits,
    Port,
    RestartPolicy,
    TcpProbe,
)
from anchor_supervisor.runtime.views import Views, inspect_view, limits_row, probe_words
from anchor_supervisor.runtime.words import Clock
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus

HOST = Image(ImageKind.HOST, "host")
WEB, DB = InstanceId("web"), InstanceId("db")
START = 1_767_323_045.0


def a_fleet() -> Fleet:
    """A web server that waits for a database."""
    web = Container(
        "web",
        HOST,
        depends_on={"db": Condition.HEALTHY},
        ports=(Port("127.0.0.1", 8080, 80),),
        limits=Limits(memory=64 << 20, cpus=0.5),
        environment={"TOKEN": "secret", "A": "b"},
    )
    db = Container(
        "db",
        HOST,
        health=Health(ExecProbe(("pg_isready", "-q"))),
        restart=RestartPolicy(delay=2.0, factor=3.0, max_delay=9.0, jitter=0.0),
    )
    return Fleet("shop", {"web": web, "db": db}, {})


def told(*happened: tuple[float, events.Event]) -> tuple[Core, Views]:
    """A core to which this has happened, and the views of it. Second 0 is START."""
    fleet = a_fleet()
    core = Core(fleet)
    for now, event in happened:
        core.handle(event, now)
    clock = Clock(0.0, START)
    return core, Views(fleet, core, clock, lambda one: f"10.88.0.{len(str(one))}", frozenset())


BEGUN = ((1.0, events.FleetStartRequested()), (2.0, events.Spawned(DB, 4711)))


def test_a_row_says_where_an_instance_is() -> None:
    """State, times, address, ports; what is not known is null."""
    core, views = told(*BEGUN)
    row = views.row(core.snapshot(DB))
    assert (row["fleet"], row["name"], row["container"], row["replica"]) == (
        *("shop", "db.1"),
        *("db", 1),
    )
    assert (row["state"], row["health"], row["pid"]) == ("running", "starting", 4711)
    assert row["started_at"] == row["since"] == "2026-01-02T03:04:07.000Z"
    assert (row["exit_code"], row["signal"], row["oom"], row["finished_at"]) == (None,) * 4
    assert row["address"] == "10.88.0.4"
    waiting = views.row(core.snapshot(WEB))
    assert waiting["state"] == "waiting"
    assert "`db`" in waiting["reason"]
    [port] = waiting["ports"]
    assert (port["host_address"], port["host_port"], port["container_port"], port["protocol"]) == (
        *("127.0.0.1", 8080),
        *(80, "tcp"),
    )


def test_a_row_says_how_the_last_run_ended() -> None:
    """Code or signal, the words of an out-of-memory kill, and when the next attempt is."""
    killed = ExitStatus(signal=9, oom="oom (limit 64M, peak 64M)")
    core, views = told(*BEGUN, (5.0, events.Exited(DB, killed)))
    row = views.row(core.snapshot(DB))
    assert (row["state"], row["exit_code"], row["signal"]) == ("backoff", None, 9)
    assert row["oom"] == "oom (limit 64M, peak 64M)"
    assert row["finished_at"] == "2026-01-02T03:04:10.000Z"
    assert row["next_at"] == "2026-01-02T03:04:12.000Z"


def test_before_the_first_event_a_row_can_be_made() -> None:
    """Every field that is always there is there from the beginning."""
    core, views = told()
    row = views.row(core.snapshot(WEB))
    assert row["since"] == "2026-01-02T03:04:05.000Z"
    assert row["state"] == "waiting"


def test_the_whole_story() -> None:
    """Why: dependencies, the last exit and how long it ran, probes, restarts, log, history."""
    core, views = told(
        *BEGUN,
        (3.0, events.ProbeFinished(DB, 1, ok=False, output="no route")),
        (5.5, events.Exited(DB, ExitStatus(code=3))),
    )
    line: LogLine = {
        "name": "db.1", "time": "", "stream": "stderr", "partial": False, "text": "bye",
    }  # fmt: skip
    why = views.why(core.snapshot(DB), [line])
    assert why["last_exit"] == {
        "code": 3, "signal": None, "oom": None, "at": "2026-01-02T03:04:10.500Z", "ran": 3.5,
    }  # fmt: skip
    assert why["log"] == [line]
    assert [entry["state"] for entry in why["history"]][-1] == "backoff"
    probe = why["probe"]
    assert probe is not None
    assert probe["probe"] == "exec pg_isready -q"
    assert [result["output"] for result in probe["results"]] == ["no route"]
    restarts = why["restarts"]
    assert restarts is not None
    assert restarts["max"] is None
    waiting = views.why(core.snapshot(WEB), [])
    [dependency] = waiting["dependencies"]
    assert (dependency["name"], dependency["condition"], dependency["met"]) == (
        *("db.1", "healthy"),
        False,
    )
    assert waiting["last_exit"] is None
    assert waiting["probe"] is None
    json.dumps([why, waiting])


def test_the_story_of_a_thousand_failures_can_be_told() -> None:
    """However long an instance keeps failing, its delay is a number that the policy allows."""
    happened: list[tuple[float, events.Event]] = list(BEGUN)
    now = 3.0
    for _ in range(1100):
        happened.append((now, events.Exited(DB, ExitStatus(code=1))))
        now += 10.0
        happened += [(now, events.Tick()), (now, events.Spawned(DB, 4711))]
        now += 1.0
    core, views = told(*happened)
    restarts = views.why(core.snapshot(DB), [])["restarts"]
    assert restarts is not None
    assert restarts["delay"] == 9.0


def test_a_chain_of_dependencies_is_told_to_its_end() -> None:
    """Each dependency tells what it waits for in turn."""
    chain = {f"c{n}": Container(f"c{n}", HOST) for n in range(3)}
    for number in (1, 2):
        above = {f"c{number - 1}": Condition.STARTED}
        chain[f"c{number}"] = evolve(chain[f"c{number}"], depends_on=above)
    fleet = Fleet("shop", chain, {})
    core = Core(fleet)
    views = Views(fleet, core, Clock(0.0, START), lambda _: None, frozenset())
    [first] = views.why(core.snapshot("c2"), [])["dependencies"]
    [second] = first["dependencies"]
    assert (first["name"], second["name"], second["dependencies"]) == ("c1.1", "c0.1", [])


def test_a_limit_that_is_not_in_force_is_not_shown() -> None:
    """Whatever the file says: what this machine cannot enforce is no limit."""
    container = a_fleet().containers["web"]
    assert limits_row(container, frozenset({"memory", "pids"})) == {
        "memory": 64 << 20, "cpus": None, "pids": 4096,
    }  # fmt: skip
    assert set(limits_row(container, frozenset()).values()) == {None}


def test_probes_are_said_as_in_the_file() -> None:
    """One form for each kind."""
    assert probe_words(TcpProbe(80)) == "tcp :80"
    assert probe_words(HttpProbe(80, "/health")) == "http :80/health"
    assert probe_words(ExecProbe(("pg_isready", "-q"))) == "exec pg_isready -q"


def test_inspect_shows_no_secrets() -> None:
    """Of the environment only the names; everything can be written as JSON."""
    core, views = told()
    container = a_fleet().containers["web"]
    shown = inspect_view(views.row(core.snapshot(WEB)), container, {"cgroup": "/sys/x"})
    text = json.dumps(shown)
    assert "secret" not in text
    assert '"TOKEN"' in text
    assert shown["host"] == {"cgroup": "/sys/x"}
