"""`plan`, `apply`, `scale` and `events`, as a person or a script uses them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from anchor_program import Anchor
from anchor_supervisor.cli.plan_words import plan_words
from anchor_supervisor.cli.render import Paint
from anchor_supervisor.observability.journal import Journal
from anchor_supervisor.observability.places import DATA_DIR_VARIABLE
from canned import web_plan

NOW = 1_767_323_045_000_000_000  # 2026-01-02T03:04:05Z

FILE = """
[fleet]
name = "shop"
[containers.web]
image = "host"
command = "serve --fast"
replicas = 2
[containers.more]
image = "host"
command = "true"
"""


@pytest.fixture
def file(data_dir: Path) -> Path:
    """The file of the fleet `shop`, where the program looks for it."""
    path = data_dir / "fleet.toml"
    path.write_text(FILE)
    return path


def test_a_plan_is_a_table(anchor: Anchor, shop: object, file: Path) -> None:
    """Key by key, before and after, with effects; columns aligned over all containers."""
    result = anchor("plan")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "fleet shop",
        "  fleet.parallel  -     -> 4             live",
        "web: restart, 2 replicas",
        "  limits.memory   64M   -> 128M          live",
        "  command         serve -> serve --fast  restart",
        "cache: start, 3 replicas",
        "migrate: stop",
        "1 to start, 1 to stop, 1 to restart; every other container stays as it is",
    ]
    assert json.loads(anchor("plan", "--json").stdout) == web_plan()


def test_long_values_are_shown_where_they_differ() -> None:
    """Their common beginning says nothing of what changes."""
    script = "sh -c 'set -eu; mkdir -p /srv/www; cp -a /template/. /srv/www; exec serve"
    plan = web_plan()
    plan["keys"] = []
    plan["containers"] = [
        {
            **plan["containers"][0],
            "keys": [
                {
                    "key": "command",
                    "before": f"{script} --slow'",
                    "after": f"{script} --fast'",
                    "effect": "restart",
                }
            ],
        }
    ]
    _, line, _ = plan_words(plan, Paint(color=False), 0)
    assert line.split("  ")[2] == "…xec serve --slow' -> …xec serve --fast'"


def test_a_plan_for_a_narrow_terminal() -> None:
    """Values stand below their keys, so that both can be read, and no line is too long."""
    plan, paint = web_plan(), Paint(color=False)
    plan["containers"][0]["keys"][0]["key"] = 'volumes."/a/rather/long/path"'
    assert [*plan_words(plan, paint, 40)][:8] == [
        "fleet shop",
        "  fleet.parallel  live",
        "    - -> 4",
        "web: restart, 2 replicas",
        '  volumes."/a/rather/long/path"  live',
        "    64M -> 128M",
        "  command  restart",
        "    serve -> serve --fast",
    ]
    plan["containers"][0]["keys"][1]["after"] = "serve " + "very " * 9 + "fast"
    lines = [*plan_words(plan, paint, 30)]
    assert lines[4] == '  volumes."/a/rather/lo…  live'
    assert lines[7:9] == ["    serve", "    -> serve very very very v…"]
    assert [*plan_words(plan, paint, 200)] == [*plan_words(plan, paint, 0)]


def test_an_empty_plan(anchor: Anchor, shop: object, file: Path) -> None:
    """Nothing would change, and that is a success."""
    result = anchor("plan", PRETEND="same")
    assert (result.returncode, result.stdout) == (0, "nothing would change\n")
    applied = anchor("apply", PRETEND="same")
    assert (applied.returncode, applied.stdout) == (0, "nothing would change\n")


def test_a_plan_for_a_fleet_that_does_not_run(anchor: Anchor, file: Path) -> None:
    """What `up` would start."""
    result = anchor("plan", PRETEND="same")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "fleet `shop` is not running; `anchor up` would start:",
        "web: start, 2 replicas",
        "more: start",
        "2 to start",
    ]
    document = json.loads(anchor("plan", "--json").stdout)
    assert (document["running"], [one["container"] for one in document["containers"]]) == (
        False,
        ["web", "more"],
    )


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_wrong_file_is_found_before_anybody_is_asked(
    anchor: Anchor, shop: object, file: Path, verb: str
) -> None:
    """File, line, key and hint; exit code 2; every problem at once."""
    file.write_text(FILE + '[containers.web2]\nimage = "host"\ncomand = "true"\nreplicas = 0\n')
    result = anchor(verb)
    assert (result.returncode, result.stdout) == (2, "")
    assert "fleet.toml:13: containers.web2.comand: " in result.stderr
    assert "did you mean `command`?" in result.stderr
    assert "fleet.toml:14: containers.web2.replicas: " in result.stderr


def test_what_the_supervisor_finds_wrong_is_shown_alike(
    anchor: Anchor, shop: object, file: Path
) -> None:
    """With the exit code that it has where it is found here."""
    for verb in ("plan", "apply"):
        result = anchor(verb, PRETEND="wrong")
        assert result.returncode == 2
        assert result.stderr == (
            "error: a.toml:3: containers.web: must be a list\nhint: brackets\n"
        )


def test_an_apply_tells_how_it_goes(anchor: Anchor, shop: object, file: Path) -> None:
    """The plan on standard output; what happens, and the end of it, on standard error."""
    result = anchor("apply")
    assert result.returncode == 0
    assert result.stdout == anchor("plan").stdout
    lines = result.stderr.splitlines()
    assert lines[0].endswith("  web.1  running: started")
    assert lines[1].endswith("  web  update done: all replicas are new")
    assert lines[2].startswith("fleet `shop` is as it shall be (")
    document = json.loads(anchor("apply", "--json").stdout)
    assert document["ok"]
    assert document["plan"] == web_plan()


def test_an_update_that_was_paused_is_a_failure(anchor: Anchor, shop: object, file: Path) -> None:
    """Exit code 1, why, and what can be done about it."""
    result = anchor("apply", PRETEND="broken")
    assert result.returncode == 1
    assert "error: the update of `web` is paused: `web.1` exited (1)\n" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("hint: `anchor why NAME` tells why")
    told = anchor("apply", "--json", PRETEND="broken")
    assert told.returncode == 1
    assert json.loads(told.stdout)["failed"] == [
        "the update of `web` is paused: `web.1` exited (1)"
    ]


def test_an_update_that_was_rolled_back_is_one_too(
    anchor: Anchor, shop: object, file: Path
) -> None:
    """Its last words are in the log, whether it was a replica or stood beside them."""
    result = anchor("apply", PRETEND="undone")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "hint: `anchor logs NAME` has its last words; everything is as it was"
    )


def test_a_supervisor_that_goes_away_is_told(anchor: Anchor, shop: object, file: Path) -> None:
    """Nobody knows how the change ended: that is no success."""
    result = anchor("apply", PRETEND="cut")
    assert result.returncode == 1
    assert "ended before the change was through" in result.stderr


def test_patience_has_an_end(anchor: Anchor, shop: object, file: Path) -> None:
    """The change goes on, and that is said."""
    result = anchor("apply", "--wait-timeout", "100ms", PRETEND="slow")
    assert result.returncode == 1
    assert "error: fleet `shop` is not there yet\nhint: it goes on; " in result.stderr
    assert anchor("apply", "--wait-timeout", "soon").returncode == 2


def test_only_what_runs_can_be_changed(anchor: Anchor, file: Path) -> None:
    """The hint names the files."""
    result = anchor("apply")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: fleet `shop` is not running\nhint: `anchor up -f {file}` brings it up\n"
    )


def test_the_files_of_the_fleet_that_runs_are_the_last_resort(anchor: Anchor, shop: object) -> None:
    """Without `-f` and ./fleet.toml; here they are not there any more."""
    result = anchor("apply")
    assert result.returncode == 2
    assert result.stderr.startswith("error: /srv/shop.toml: ")


def test_a_file_of_another_fleet(anchor: Anchor, shop: object, file: Path) -> None:
    """`-p` and `-f` must mean the same."""
    result = anchor("apply", "-p", "other", "-f", str(file))
    assert result.returncode == 1
    assert "is of fleet `shop`, not of `other`" in result.stderr


def test_scale(anchor: Anchor, shop: object) -> None:
    """Several at once; how it goes is told as by an apply."""
    result = anchor("scale", "web=5", "db=2")
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1].startswith("fleet `shop` is as it shall be (")
    assert json.loads(anchor("scale", "web=5", "--json").stdout)["ok"]
    unknown = anchor("scale", "nobody=2")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: there is no container `nobody`\n")


@pytest.mark.parametrize("wish", ["web", "web=", "web=-1", "web=1.5", "=3", "web=x"])
def test_a_wrong_scale_is_a_wrong_use(anchor: Anchor, wish: str) -> None:
    """Exit code 2, and how it is written."""
    result = anchor("scale", wish)
    assert result.returncode == 2
    assert "is not NAME=N, such as web=5" in result.stderr


@pytest.mark.parametrize("wish", ["web=0", "web=1001"])
def test_scale_has_bounds(anchor: Anchor, wish: str) -> None:
    """They are told before anybody is asked; who wants none is told how."""
    result = anchor("scale", wish)
    assert result.returncode == 2
    assert f"`{wish}`: replicas are 1 to 1000; `anchor stop` stops them all" in result.stderr


def test_scale_takes_a_name_once(anchor: Anchor, shop: object) -> None:
    """Two numbers for one container contradict each other."""
    result = anchor("scale", "web=1", "db=2", "web=2")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: `web` is named twice\n"


@pytest.fixture
def journal(environment: dict[str, str]) -> Journal:
    """The journal of the fleet `shop`, with a run, a kill and an update in it."""
    journal = Journal(Path(environment[DATA_DIR_VARIABLE]) / "logs" / "shop")
    second = 1_000_000_000
    journal.append(
        NOW, "transition", container="web.1", before="starting", state="running", health="none",
        reason="started", exit=None,
    )  # fmt: skip
    journal.append(
        NOW + second, "transition", container="web.1", before="running", state="running",
        health="healthy", reason="a probe succeeded", exit=None,
    )  # fmt: skip
    journal.append(
        NOW + second, "transition", container="web.1", before="running", state="running",
        health="unhealthy", reason="unhealthy: 3 probes failed in a row", exit=None,
    )  # fmt: skip
    journal.append(
        NOW + second, "transition", container="web.1", before="running", state="running",
        health="starting", reason="its health check was changed", exit=None,
    )  # fmt: skip
    journal.append(NOW + second, "refresh", container="web.1", signal=None)
    journal.append(NOW + second, "refresh", container="web.1", signal="HUP")
    journal.append(NOW + 2 * second, "oom", container="db.1", limit=64 << 20, peak=64 << 20)
    journal.append(
        NOW + 3 * second, "update", container="web", result="paused", reason="bad \x1b[2J\nnews"
    )
    return journal


def test_events_of_a_fleet_that_is_down(anchor: Anchor, journal: Journal) -> None:
    """Who, what and why, a line each; figures with their units; nothing is taken on trust."""
    result = anchor("events", "-p", "shop", TZ="UTC")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "2026-01-02 03:04:05.000  web.1  running: started",
        "2026-01-02 03:04:06.000  web.1  healthy: a probe succeeded",
        "2026-01-02 03:04:06.000  web.1  unhealthy: 3 probes failed in a row",
        "2026-01-02 03:04:06.000  web.1  probed anew: its health check was changed",
        "2026-01-02 03:04:06.000  web.1  refresh: changed while it runs",
        "2026-01-02 03:04:06.000  web.1  refresh: changed while it runs, and told by HUP",
        "2026-01-02 03:04:07.000  db.1   oom: limit 64M, peak 64M",
        "2026-01-02 03:04:08.000  web    update paused: bad  news",
    ]
    assert [entry["event"] for entry in json.loads(anchor("events", "-p", "shop", "--json").stdout)]


def test_events_have_columns(anchor: Anchor, journal: Journal) -> None:
    """As wide as the widest name, wherever it stands."""
    journal.append(NOW + 4_000_000_000, "deaf", container="migrate.1", reason="ignores TERM")
    lines = anchor("events", "-p", "shop", TZ="UTC").stdout.splitlines()
    assert lines[0] == "2026-01-02 03:04:05.000  web.1      running: started"
    assert lines[-1] == "2026-01-02 03:04:09.000  migrate.1  deaf: ignores TERM"


def test_events_are_chosen(anchor: Anchor, journal: Journal) -> None:
    """By name, by time, and from the end."""

    def names(*arguments: str) -> list[str]:
        found = json.loads(anchor("events", "-p", "shop", "--json", *arguments).stdout)
        return [entry["container"] for entry in found]

    assert names("web") == [*["web.1"] * 6, "web"]
    assert names("web.1", "db") == [*["web.1"] * 6, "db.1"]
    assert names("--tail", "1") == ["web"]
    assert names("--tail", "1", "db") == ["db.1"]
    assert names("--since", "2026-01-02T03:04:07Z") == ["db.1", "web"]
    assert names("--since", "10m") == []
    unknown = anchor("events", "-p", "shop", "wbe")
    assert unknown.returncode == 1
    assert unknown.stderr == (
        "error: nothing has happened to `wbe` in fleet `shop`\nhint: something has to web, db\n"
    )


def test_nothing_to_follow_is_said(anchor: Anchor, journal: Journal) -> None:
    """A fleet that is down has what was written down, and no more; one object a line."""
    result = anchor("events", "-f", "--json", "-p", "shop")
    assert result.returncode == 0
    assert "so there is nothing to follow" in result.stderr
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 8


def test_a_fleet_without_a_journal_has_no_events(anchor: Anchor) -> None:
    """An empty list, not an error."""
    result = anchor("events", "-p", "quiet", "--json")
    assert (result.returncode, result.stdout) == (0, "[]\n")


def test_events_are_followed(anchor: Anchor, shop: subprocess.Popen[str]) -> None:
    """From the supervisor, as they come, until it ends; one object a line."""
    command = anchor.command("events", "-f", "--json")
    with subprocess.Popen(
        command, cwd=anchor.place, env=anchor.environment, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        entries = [json.loads(following.stdout.readline()) for _ in range(2)]
        assert [entry["event"] for entry in entries] == ["transition", "update"]
        assert following.poll() is None
        shop.kill()
        assert following.stdout.read() == ""
    assert following.returncode == 0
