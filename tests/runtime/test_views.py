"""Facts as operators see them: pure, and true to what the core says."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

from attrs import evolve

from anchor_supervisor.control.shapes import LogLine
from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    ExecProbe,
    Fleet,
    Grant,
    GrantKind,
    Health,
    HttpProbe,
    Image,
    ImageKind,
    InstanceId,
    Kind,
    Limits,
    LogProbe,
    NotifyProbe,
    Port,
    Reaction,
    ReactionKind,
    RestartPolicy,
    Startup,
    StopPolicy,
    TcpProbe,
)
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.runtime.clock import Clock
from anchor_supervisor.runtime.inspecting import inspect_view
from anchor_supervisor.runtime.views import (
    Views,
    limits_row,
    probe_words,
    schedule_words,
    stop_words,
)
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
    assert probe_words(LogProbe("ready$")) == "log ready$"
    assert probe_words(NotifyProbe()) == "notify"


def test_inspect_shows_no_secrets() -> None:
    """Of the environment and of secrets only the names; everything can be written as JSON."""
    core, views = told()
    grants = (
        Grant(GrantKind.SECRET, "token", "/run/secrets/token", b"hidden", owner="web"),
        Grant(GrantKind.CONFIG, "conf", "/conf", b"hidden", mode=0o444),
    )
    container = evolve(a_fleet().containers["web"], grants=grants)
    shown = inspect_view(views.row(core.snapshot(WEB)), container, {"cgroup": "/sys/x"})
    text = json.dumps(shown)
    assert "hidden" not in text
    config = shown["config"]
    assert isinstance(config, dict)
    assert config["environment"] == ["A", "TOKEN"]
    assert config["secrets"] == [
        {"name": "token", "target": "/run/secrets/token", "mode": "0400", "owner": "web"}
    ]
    assert config["configs"] == [{"name": "conf", "target": "/conf", "mode": "0444", "owner": None}]
    assert shown["host"] == {"cgroup": "/sys/x"}


def test_inspect_shows_how_a_container_is_looked_after() -> None:
    """Every policy of the file, with its defaults."""
    core, views = told()
    job = Container(
        "web",
        HOST,
        kind=Kind.JOB,
        depends_on={"db": Condition.HEALTHY, "mq": Condition.STARTED},
        on_restart={"db": Reaction(ReactionKind.SIGNAL, "HUP")},
        startup=Startup(TcpProbe(80), retries=7),
        health=Health(HttpProbe(80, "/up"), start_period=3.0),
        schedule=Schedule(every=90.0, catch_up=True),
        restart=RestartPolicy(on_exit_codes=frozenset({75, 2}), never_on_exit_codes=frozenset({9})),
        max_runtime=60.0,
        profiles=("debug",),
    )
    config = inspect_view(views.row(core.snapshot(WEB)), job, {})["config"]
    assert isinstance(config, dict)
    assert config["depends_on"] == {
        "db": {"condition": "healthy", "on_restart": "signal HUP"},
        "mq": {"condition": "started", "on_restart": "ignore"},
    }
    assert (config["startup"]["probe"], config["startup"]["retries"]) == ("tcp :80", 7)
    assert (config["health"]["probe"], config["health"]["start_period"]) == ("http :80/up", 3.0)
    assert config["schedule"] == "every 1m30s, missed runs are made up for"
    assert config["restart"]["on_exit_codes"] == [2, 75]
    assert config["restart"]["never_on_exit_codes"] == [9]
    assert (config["max_runtime"], config["profiles"]) == (60.0, ["debug"])
    assert config["update"]["order"] == "stop-first"
    assert config["on_change"] == "restart"
    json.dumps(config)


def test_schedules_and_stops_are_said_as_in_the_file() -> None:
    """What is usual is left out."""
    cron = Schedule(cron="0 3 * * *", timezone=ZoneInfo("Europe/Paris"), overlap=Overlap.QUEUE)
    assert schedule_words(cron) == ("cron `0 3 * * *` in Europe/Paris, overlapping runs: queue")
    assert stop_words(StopPolicy()) == "SIGTERM, killed after 10s"
    assert stop_words(StopPolicy("INT", 2.5, command=("pg_ctl", "stop"))) == (
        "runs `pg_ctl stop`, then SIGINT, killed after 2s500ms"
    )


def test_a_job_with_a_schedule_tells_when_it_runs() -> None:
    """The next run is in the row as well."""
    job = Container("job", HOST, kind=Kind.JOB, schedule=Schedule(every=60.0))
    me = InstanceId("job")
    core = Core(Fleet("shop", {"job": job}, {}))
    core.handle(events.FleetStartRequested(), 1.0)
    core.handle(events.Spawned(me, 4711), 1.0)
    core.handle(events.Exited(me, ExitStatus(code=0)), 2.0)
    views = Views(Fleet("shop", {}, {}), core, Clock(0.0, START), lambda _: None, frozenset())
    why = views.why(core.snapshot(me), [])
    assert why["schedule"] == {
        "when": "every 1m",
        "next_at": "2026-01-02T03:05:06.000Z",
        "queued": False,
        "skipped": 0,
        "suspended": False,
    }
    assert (why["container"]["next"], why["container"]["next_at"]) == (
        "runs again",
        "2026-01-02T03:05:06.000Z",
    )
    json.dumps(why)


def test_what_is_wrong_and_what_it_says_is_told() -> None:
    """A warning about the run, and the container's own words."""
    core, _ = told(*BEGUN)
    views = Views(
        a_fleet(), core, Clock(0.0, START), lambda _: None, frozenset(),
        lambda one: f"{one} ignores SIGTERM", lambda one: f"{one} is loading",
    )  # fmt: skip
    why = views.why(core.snapshot(DB), [], [])
    assert why["container"]["warning"] == "db.1 ignores SIGTERM"
    assert why["told"] == "db.1 is loading"


def test_an_update_is_told_while_it_goes_on_and_where_it_failed() -> None:
    """How many are replaced; once it is done there is nothing to tell in a row."""
    core, views = told(*BEGUN)
    new = evolve(a_fleet().containers["db"], command=("new",), replicas=2)
    core.handle(events.FleetChanged(evolve(a_fleet(), containers={"db": new})), 3.0)
    row = views.row(core.snapshot(DB))
    assert row["update"] is not None
    assert row["update"].startswith("0 of ")
    update = views.why(core.snapshot(DB), [])["update"]
    assert update is not None
    assert update["active"]
    assert update["result"] is None
