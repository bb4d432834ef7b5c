"""`anchor plan`, `apply`, `scale` and `events` on a fleet that runs, from another terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import Console, Row
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]


def shop(rootfs: Path, *more: str, web: str = "", version: str = "1") -> str:
    """A server of two replicas, a worker, and a job; `more` and `web` are lines of the file."""
    lines = "\n".join(more)
    return f"""
[containers.web]
image = "{rootfs}"
command = ["sleep", "{version}000"]
replicas = 2
stop = {{ grace = "0s" }}
{web}
[containers.worker]
image = "{rootfs}"
command = "sleep 1000"
stop = {{ grace = "0s" }}
[containers.job]
kind = "job"
image = "{rootfs}"
command = "true"
{lines}
"""


@pytest.fixture
def fleet(console: Console, rootfs: Path) -> Iterator[Path]:
    """The shop, up."""
    path = console.write("shop.toml", shop(rootfs))
    console.up(path)
    yield path
    console.down(path)


def runs(rows: dict[str, Row]) -> dict[str, tuple[int, str]]:
    """Which processes there are, since when."""
    return {name: (row["pid"], row["started_at"]) for name, row in rows.items() if row["pid"]}


def test_only_what_differs_is_touched(console: Console, rootfs: Path, fleet: Path) -> None:
    """Live, by new processes, new and gone: as planned, and nobody else's process ends."""
    before = console.rows(fleet)
    cache = f'[containers.cache]\nimage = "{rootfs}"\ncommand = "sleep 1000"\n'
    text = shop(rootfs, cache, version="2", web='labels = { tier = "front" }')
    fleet.write_text(text.partition("[containers.job]")[0] + cache)
    planned = console.anchor("plan", "-f", fleet)
    assert planned.code == 0, planned
    assert runs(console.rows(fleet)) == runs(before)
    told = planned.out.splitlines()
    assert told[0] == "web: restart, 2 replicas"
    assert any(line.split() == ["labels.tier", "-", "->", "front", "live"] for line in told)
    assert [line for line in told if line[0] != " "][1:3] == ["cache: start", "job: stop"]

    applied = console.anchor("apply", "-f", fleet)
    assert applied.code == 0, applied
    assert applied.out == planned.out
    assert "web  update done" in applied.err
    after = console.rows(fleet)
    assert set(after) == {"web.1", "web.2", "worker.1", "cache.1"}
    assert runs(after)["worker.1"] == runs(before)["worker.1"]
    for name in ("web.1", "web.2"):
        assert after[name]["pid"] != before[name]["pid"]
        assert after[name]["address"] == before[name]["address"]

    for verb in ("plan", "apply"):
        again = console.anchor(verb, "-f", fleet)
        assert (again.code, again.out) == (0, "nothing would change\n"), again
    assert runs(console.rows(fleet)) == runs(after)


def test_what_is_live_ends_no_process(console: Console, rootfs: Path, fleet: Path) -> None:
    """Policies of every kind, at once."""
    before = console.rows(fleet)
    web = """
restart = { when = "always", delay = "10m", max_delay = "10m", max = 3 }
labels = { tier = "front" }
update = { parallelism = 2 }
max_runtime = "1h"
"""
    fleet.write_text(shop(rootfs, web=web))
    said = console.anchor("apply", "-f", fleet, "--json")
    assert said.code == 0, said
    [change] = said.json()["plan"]["containers"]
    assert (change["container"], change["effect"]) == ("web", "live")
    assert runs(console.rows(fleet)) == runs(before)
    assert console.anchor("kill", "web.1").code == 0
    row = console.row_when(
        fleet, "web.1", lambda row: row["state"] == "backoff", what="the new policy counts"
    )
    assert row["attempts_most"] == 3
    assert "may run" in console.anchor("why", "web.2").out


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ("[containers.web", 2, "shop.toml:"),
        ('[containers.x]\nimage = "ROOTFS"\ncomand = "true"\n', 2, "did you mean `command`?"),
        ('[containers.x]\nimage = "/nowhere"\ncommand = "true"\n', 2, "`/nowhere`"),
        ('[containers.x]\nimage = "ROOTFS"\ncommand = "true"\nports = ["PORT:80"]\n', 3, "PORT"),
    ],
)
def test_what_is_wrong_changes_nothing(
    console: Console, rootfs: Path, fleet: Path, wrong: str, code: int, words: str
) -> None:
    """Neither by a plan nor by an apply; the exit code says whose fault it is."""
    before = runs(console.rows(fleet))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        text = wrong.replace("ROOTFS", str(rootfs)).replace("PORT", port)
        fleet.write_text(shop(rootfs, text, version="2"))
        for verb in ("plan", "apply"):
            said = console.anchor(verb, "-f", fleet)
            assert said.code == code, said
            assert words.replace("PORT", port) in said.err
            assert "Traceback" not in said.err
    fleet.write_text(shop(rootfs))
    assert runs(console.rows(fleet)) == before
    assert console.anchor("plan", "-f", fleet).out == "nothing would change\n"


def test_the_files_are_read_with_the_operators_environment(
    console: Console, rootfs: Path, fleet: Path
) -> None:
    """A variable that another terminal sets counts; its value is told to nobody else."""
    web = 'environment = { TOKEN = "${TOKEN:-none}" }'
    fleet.write_text(shop(rootfs, web=web))
    assert console.anchor("apply", "-f", fleet).code == 0
    with_token = ["env", "TOKEN=hidden"]
    planned = console.anchor("plan", "-f", fleet, wrapped=with_token)
    assert "environment.TOKEN" in planned.out
    assert "hidden" not in planned.out
    assert console.anchor("apply", "-f", fleet, wrapped=with_token).code == 0
    assert console.anchor("exec", "web.1", "sh", "-c", "echo $TOKEN").out == "hidden\n"
    told = [
        console.anchor(*words).out for words in (["inspect", "web"], ["events"], ["why", "web"])
    ]
    assert "hidden" not in "".join(told)
    log = console.data_dir / "logs/shop/supervisor.log"
    assert "hidden" not in log.read_text()


def test_a_job_is_run_again_only_where_it_differs(
    console: Console, rootfs: Path, fleet: Path
) -> None:
    """However often the file is applied."""
    first = console.rows(fleet)["job.1"]["finished_at"]
    fleet.write_text(shop(rootfs, version="2"))
    assert console.anchor("apply", "-f", fleet).code == 0
    assert console.rows(fleet)["job.1"]["finished_at"] == first
    fleet.write_text(shop(rootfs, version="2").replace('command = "true"', 'command = "id"'))
    assert console.anchor("apply", "-f", fleet).code == 0
    again = console.rows(fleet)["job.1"]
    assert again["state"] == "completed"
    assert again["finished_at"] > first


def test_replicas_come_and_go(console: Console, fleet: Path) -> None:
    """Those that stay keep their processes, and the next apply goes by the file."""
    before = runs(console.rows(fleet))
    said = console.anchor("scale", "web=4", "worker=2")
    assert said.code == 0, said
    more = console.rows(fleet)
    assert set(more) == {*(f"web.{n}" for n in range(1, 5)), "worker.1", "worker.2", "job.1"}
    assert before.items() <= runs(more).items()
    assert console.anchor("scale", "web=1").code == 0
    fewer = console.rows(fleet)
    assert "web.2" not in fewer
    assert runs(fewer)["web.1"] == before["web.1"]
    planned = console.anchor("plan", "-f", fleet).out.splitlines()
    assert planned[0] == "web: live, 1 -> 2 replicas"
    assert console.anchor("apply", "-f", fleet).code == 0
    assert set(console.rows(fleet)) == {"web.1", "web.2", "worker.1", "job.1"}


def test_an_update_that_fails_is_explained(console: Console, rootfs: Path, fleet: Path) -> None:
    """Exit code 1, and `ps`, `why` and `events` say where it stands; the next file mends it."""
    bad = shop(rootfs, web='restart = "no"\nupdate = { monitor = "2s" }').replace(
        '["sleep", "1000"]', '["sh", "-c", "echo last words; exit 7"]', 1
    )
    fleet.write_text(bad)
    said = console.anchor("apply", "-f", fleet)
    assert said.code == 1, said
    assert "error: the update of `web` is paused: " in said.err
    assert "hint: `anchor why NAME` tells why" in said.err
    rows = console.rows(fleet)
    assert rows["web.2"]["state"] == "running", "the other replica was left alone"
    assert "of 2 replaced, paused" in rows["web.1"]["update"]
    why = console.anchor("why", "web.1").out
    for words in ("replaced, paused", "exited (7)", "last words"):
        assert words in why
    entries = console.anchor("events", "--json", "web").json()
    assert [entry["result"] for entry in entries if entry["event"] == "update"] == ["paused"]
    fleet.write_text(shop(rootfs, version="3"))
    assert console.anchor("apply", "-f", fleet).code == 0
    assert {row["state"] for row in console.rows(fleet).values()} == {"running", "completed"}


def test_who_leaves_undoes_nothing(console: Console, rootfs: Path, fleet: Path) -> None:
    """An apply that is not waited for goes on to its end."""
    web = 'update = { monitor = "1s" }'
    fleet.write_text(shop(rootfs, version="2", web=web))
    said = console.anchor("apply", "-f", fleet, "--wait-timeout", "300ms")
    assert said.code == 1, said
    assert "it goes on" in said.err
    eventually(
        lambda: [one["event"] for one in console.journal("shop")],
        lambda names: "update" in names,
        what="the update ends",
    )
    assert console.anchor("plan", "-f", fleet).out == "nothing would change\n"


def test_events_are_told_during_and_after_the_fleets_life(console: Console, rootfs: Path) -> None:
    """Followed while it lives, and read when it is down; a second life is added to the first."""
    fleet = console.write("shop.toml", shop(rootfs))
    console.up(fleet)
    following = console.start_anchor("-p", "shop", "events", "-f", "worker")
    following.wait_for("running: started")
    assert console.anchor("restart", "worker").code == 0
    following.wait_for("restart requested")
    console.down(fleet)
    assert following.ended() == 0
    lines = following.text().splitlines()
    assert all("  worker.1  " in line for line in lines)

    first = console.anchor("events", "-p", "shop", "--json").json()
    assert {entry["event"] for entry in first} == {"transition"}
    console.up(fleet)
    console.down(fleet)
    both = console.anchor("events", "-p", "shop", "--json").json()
    assert both[: len(first)] == first
    assert len(both) > len(first)
    since = console.anchor("events", "-p", "shop", "--json", "--since", both[-1]["time"])
    assert since.json() == both[-1:]
    tail = console.anchor("events", "-p", "shop", "--tail", "2", "--json")
    assert tail.json() == both[-2:]
    last = console.anchor("events", "-p", "shop", "-f", "--json")
    assert [json.loads(line) for line in last.out.splitlines()] == both


def test_a_fleet_that_does_not_run(console: Console, rootfs: Path) -> None:
    """A plan says what would be started; an apply says how to bring it up."""
    fleet = console.write("shop.toml", shop(rootfs))
    planned = console.anchor("plan", "-f", fleet)
    assert planned.code == 0
    assert planned.out.splitlines() == [
        "fleet `shop` is not running; `anchor up` would start:",
        "web: start, 2 replicas",
        "worker: start",
        "job: start",
        "3 to start",
    ]
    applied = console.anchor("apply", "-f", fleet)
    assert applied.code == 1
    assert applied.err == (
        f"error: fleet `shop` is not running\nhint: `anchor up -f {fleet}` brings it up\n"
    )
