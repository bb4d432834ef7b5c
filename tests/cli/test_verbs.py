"""The verbs that speak to a supervisor, as a person or a script uses them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from anchor_program import Anchor, pretending
from anchor_supervisor.observability.log_store import LogWriter

NOW = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z
COLUMNS = (
    "fleet container replica name kind image state health reason since next next_at pid address "
    "ports restarts exit_code signal oom started_at finished_at"
)
CONTRACT = set(COLUMNS.split())


def test_ps_is_a_table(anchor: Anchor, shop: object) -> None:
    """One line for each instance, columns aligned, and nothing of a container is taken on trust."""
    result = anchor("ps")
    header, *lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert header.split()[:6] == ["NAME", "STATE", "HEALTH", "SINCE", "RESTARTS", "NEXT"]
    assert [line.split()[0] for line in lines] == ["db", "web.1", "web.2", "migrate"]
    assert {line.index("running") for line in lines[:2]} == {header.index("STATE")}
    assert "64M 0.5cpu 4096pids" in lines[0]
    assert "127.0.0.1:8080->80" in lines[1]
    assert "3 (2/5)" in lines[2]
    assert "start in " in lines[2]
    assert "update: 1 of 2 replaced, paused: `web.2` exited (1); exited (1)" in lines[2]
    assert "\x1b" not in result.stdout


def test_ps_json_has_the_contracts_columns(anchor: Anchor, shop: object) -> None:
    """A list of objects with every promised column; colours and tables are elsewhere."""
    rows = json.loads(anchor("ps", "--json").stdout)
    assert [row["name"] for row in rows] == ["db.1", "web.1", "web.2", "migrate.1"]
    assert all(set(row) >= CONTRACT for row in rows)


def test_ps_of_every_fleet(anchor: Anchor, shop: object, environment: dict[str, str]) -> None:
    """`-a` names the fleets; without it several fleets are a question."""
    with pretending("other", environment):
        result = anchor("ps", "-a")
        assert result.stdout.startswith("FLEET ")
        assert len(result.stdout.splitlines()) == 9
        question = anchor("ps")
    assert question.returncode == 1
    assert question.stderr.startswith("error: several fleets are running: other, shop\nhint: ")


def test_ps_without_a_fleet(anchor: Anchor) -> None:
    """Nothing running is said, and is a failure; `-a --json` is an empty list all the same."""
    result = anchor("ps")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: no fleet is running")
    everything = anchor("ps", "-a", "--json")
    assert (everything.returncode, json.loads(everything.stdout)) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [("ps",), ("why", "web"), ("inspect", "web"), ("stop", "web"), ("kill", "-s", "HUP", "web")],
)
def test_a_fleet_that_does_not_run(
    anchor: Anchor, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    """The fleet is named, with how to start it."""
    (data_dir / "fleet.toml").write_text("[fleet]\nname = 'shop'\n")
    result = anchor(*arguments)
    assert result.returncode == 1
    assert result.stderr == (
        "error: fleet `shop` is not running\nhint: start it with `anchor up -f FILE`\n"
    )


def test_a_wrong_file_exits_2(anchor: Anchor, data_dir: Path) -> None:
    """A file that is no TOML is the user's, with its name."""
    (data_dir / "shop.toml").write_text("[fleet")
    result = anchor("ps", "-f", "shop.toml")
    assert result.returncode == 2
    assert result.stderr.startswith("error: shop.toml: ")


def test_why_tells_the_story(anchor: Anchor, shop: object) -> None:
    """State, reason, next attempt, last exit in words, dependencies, probe, history, last words."""
    result = anchor("why", "web.2")
    text = " ".join(result.stdout.split())
    assert result.returncode == 0
    for part in (
        "web.2 is backoff for",
        "exited (1)",
        "next starts again (4th restart, at most 5 within 10m) in",
        "update 1 of 2 replaced, paused: `web.2` exited (1)",
        "says loading 37%",
        "schedule every 1h, next in",
        "(at 2096-01-02",
        ", 2 skipped",
        "may run until",
        "stop runs `pg_ctl stop`, then SIGTERM, killed after 10s",
        "stop command 2026-01-02",
        "fail no such server",
        "incidents 2026-01-02",
        "web.2 oom: limit 64M, peak 64M",
        "last exit oom (limit 64M, peak 64M) after 2.5s",
        "on-failure, 3 attempts in the last 10m (at most 5), next delay 400ms",
        "-- db.1 must be healthy; is running, starting: no probe has answered yet",
        "startup probe http :80/health (2 of 3 failures in a row)",
        "fail 4ms status 503 sorry",
        "history",
        "stderr last \N{REPLACEMENT CHARACTER} words",
    ):
        assert part in text
    assert json.loads(anchor("why", "web", "--json").stdout)[1]["container"]["name"] == "web.2"


def test_inspect_is_json(anchor: Anchor, shop: object) -> None:
    """Always a JSON document."""
    assert json.loads(anchor("inspect", "db").stdout)["name"] == "db.1"


def test_actions_do_all_names(anchor: Anchor, shop: object) -> None:
    """Several names are several requests; one that fails does not keep the others from it."""
    result = anchor("stop", "web", "nobody", "db.1")
    assert result.returncode == 1
    assert result.stderr == (
        "error: there is no container `nobody`\nhint: `anchor ps` lists them\n"
    )
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["web.1", "stopped,"],
        ["web.2", "stopped"],
        ["db.1", "stopped,"],
    ]


def test_the_machines_fault_exits_3(anchor: Anchor, shop: object) -> None:
    """An error keeps its exit code across the socket."""
    result = anchor("start", "migrate")
    assert result.returncode == 3
    assert result.stderr == "error: out of pids\nhint: raise kernel.pid_max\n"


@pytest.mark.parametrize("name", ["HUP", "SIGHUP", "hup", "1"])
def test_signals_have_names_and_numbers(anchor: Anchor, shop: object, name: str) -> None:
    """`kill -s` takes a signal in every usual spelling."""
    assert anchor("kill", "-s", name, "web").returncode == 0


def test_a_signal_that_there_is_not(anchor: Anchor, shop: object) -> None:
    """Any other is a wrong use."""
    result = anchor("kill", "-s", "BOO", "web")
    assert result.returncode == 2
    assert "there is no signal `BOO`" in result.stderr


def test_down_waits_for_the_end(anchor: Anchor, shop: subprocess.Popen[str]) -> None:
    """When `down` is back the supervisor has ended, and what it removed is told."""
    result = anchor("down")
    assert shop.poll() == 0
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "removed network default\nfleet `shop` is down\n"


def test_down_of_nothing(anchor: Anchor) -> None:
    """Nothing to end is no failure."""
    result = anchor("down")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("no fleet is running")


def written(data_dir: Path, instance: str, *lines: bytes) -> None:
    """Store lines of an instance of `shop`, a second apart."""
    writer = LogWriter(data_dir / "logs" / "shop" / instance)
    for second, line in enumerate(lines):
        writer.write("stdout", line, NOW + second * 10**9)


def test_logs_are_merged_by_time(anchor: Anchor, data_dir: Path) -> None:
    """Stored output is shown though nothing runs: in order, prefixed and aligned."""
    written(data_dir, "web.1", b"one\n", b"three\n")
    written(data_dir, "web.2", b"two\n")
    written(data_dir, "database.1", b"half", b" and half\n")
    result = anchor("logs", "-p", "shop")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "web.1    | one",
        "web.2    | two",
        "database | half and half",
        "web.1    | three",
    ]


def test_logs_can_be_chosen(anchor: Anchor, data_dir: Path) -> None:
    """By name, by number of lines, by time; with the time; as JSON; and `-f` before the verb."""
    written(data_dir, "web.1", b"one\n", b"two\n", b"th\xff\n")
    written(data_dir, "db.1", b"other\n")
    (data_dir / "x.toml").write_text("[fleet]\nname = 'shop'\n")
    assert anchor("-f", "x.toml", "logs", "-n", "1", "db").stdout == "db | other\n"
    since = anchor(
        "logs", "--fleet", "shop", "--since", "2026-01-02T03:04:06Z", "--timestamps", "web"
    )
    assert since.stdout == (
        "web | 2026-01-02T03:04:06.000000000Z two\n"
        "web | 2026-01-02T03:04:07.000000000Z th\N{REPLACEMENT CHARACTER}\n"
    )
    lines = anchor("-p", "shop", "logs", "--json", "--tail", "1", "web.1").stdout.splitlines()
    assert json.loads(lines[0])["base64"] == "dGj/"
    assert anchor("-p", "shop", "logs", "--since", "1m").stdout == ""


def test_logs_of_nobody(anchor: Anchor, data_dir: Path) -> None:
    """A name without output is an error that says which have some."""
    written(data_dir, "web.1", b"one\n")
    result = anchor("-p", "shop", "logs", "wbe")
    assert result.returncode == 1
    assert result.stderr == "error: fleet `shop` has no output of `wbe`\nhint: it has of web\n"


@pytest.mark.parametrize(("option", "value"), [("--since", "yesterday"), ("--tail", "-3")])
def test_logs_from_nowhere(anchor: Anchor, option: str, value: str) -> None:
    """A time or a count that is none is a wrong use."""
    assert anchor("-p", "shop", "logs", f"{option}={value}").returncode == 2


def test_logs_follow_until_the_fleet_ends(
    anchor: Anchor, shop: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    """`-f` shows what comes, as it comes, and ends with the supervisor."""
    command = anchor.command("logs", "-f", "web")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, cwd=anchor.place
    ) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline() == "web.1   | live\n"
            shop.kill()
            assert following.stdout.read() == ""
            assert following.wait() == 0
        finally:
            following.kill()


def test_logs_follow_of_a_fleet_that_does_not_run(anchor: Anchor, data_dir: Path) -> None:
    """There is still what is stored, and a warning."""
    written(data_dir, "web.1", b"one\n")
    result = anchor("-p", "shop", "logs", "-f")
    assert (result.returncode, result.stdout) == (0, "web | one\n")
    assert result.stderr.startswith("warning: fleet `shop` is not running")


@pytest.mark.root
def test_the_doctor_finds_this_machine_fit(anchor: Anchor) -> None:
    """Where the tests make containers, nothing has failed; each finding has a verdict."""
    result = anchor("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    assert {"kernel", "root", "cgroups", "limits", "overlay", "firewall"} <= set(findings)
    assert all(f["verdict"] == "ok" or f["remedy"] for f in findings.values())
    assert [line.split()[0] for line in anchor("doctor").stdout.splitlines() if line[0] != " "] == [
        finding["verdict"] for finding in findings.values()
    ]
