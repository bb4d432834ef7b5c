"""`anchor VERB` against a fleet that runs in the background, from another terminal."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from console import Console

pytestmark = [pytest.mark.root, pytest.mark.native]

FACTS = {
    *("fleet", "container", "replica", "name", "kind", "image", "state", "health", "reason"),
    *("since", "next", "next_at", "pid", "address", "ports", "restarts", "exit_code", "signal"),
    *("oom", "started_at", "finished_at"),
}


@pytest.fixture
def shop(console: Console, rootfs: Path) -> Iterator[Path]:
    """A job, a server that waits for it, two workers, and one that falls over when told to."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.setup]
kind = "job"
image = "{rootfs}"
command = "echo prepared"
[containers.web]
image = "{rootfs}"
command = ["sh", "-c", "echo to out; echo to err >&2; exec httpd -f -p 80 -h /srv"]
depends_on = {{ setup = "completed" }}
health = {{ http = ":80/index.html", interval = "1s" }}
environment = {{ SHOP = "open" }}
[containers.worker]
image = "{rootfs}"
command = "sleep 1000"
replicas = 2
[containers.crasher]
image = "{rootfs}"
command = "sh -c 'until test -e /go; do sleep 0.05; done; rm /go; echo last words; exit 3'"
restart = {{ when = "always", delay = "10m", max_delay = "10m" }}
""",
    )
    console.up(fleet)
    yield fleet
    console.down(fleet)


def test_ps_and_why_tell_states_and_reasons(console: Console, shop: Path) -> None:
    """Every fact of the contract is there; times are RFC 3339; `why` has the whole story."""
    assert console.anchor("exec", "crasher", "touch", "/go").code == 0
    crasher = console.row_when(
        shop, "crasher.1", lambda row: row["state"] == "backoff", what="the crasher backs off"
    )
    rows = console.rows(shop)
    assert set(rows) == {"setup.1", "web.1", "worker.1", "worker.2", "crasher.1"}
    assert all(set(row) >= FACTS for row in rows.values())
    assert all(row["reason"] and datetime.fromisoformat(row["since"]) for row in rows.values())
    assert (rows["setup.1"]["state"], rows["setup.1"]["exit_code"]) == ("completed", 0)
    assert (rows["web.1"]["state"], rows["web.1"]["health"]) == ("running", "healthy")
    assert crasher["exit_code"] == 3
    assert datetime.fromisoformat(crasher["next_at"]) > datetime.fromisoformat(crasher["since"])

    assert console.anchor("ps", "--json").json() == list(console.rows(shop).values())
    table = console.anchor("ps").out
    assert all(row["container"] in table for row in rows.values())
    why = console.anchor("why", "crasher").out
    for words in ("backoff", "exited (3)", "last words"):
        assert words in why
    assert console.anchor("why", "web", "--json").json()[0]["container"]["name"] == "web.1"


def test_logs_show_both_streams_and_follow(console: Console, shop: Path) -> None:
    """What a container said is there, prefixed, also once it has ended; streams keep no order."""
    said = console.anchor("logs", "web").out.splitlines()
    assert sorted(line.split()[-2:] for line in said) == [["to", "err"], ["to", "out"]]
    assert all(line.startswith("web") for line in said)
    everything = console.anchor("logs", "--tail", "1").out
    assert "prepared" in everything
    assert ("to err" in everything) != ("to out" in everything)
    assert re.search(r"\d{4}-\d\d-\d\dT", console.anchor("logs", "--timestamps", "web").out)


def test_exec_runs_inside_and_returns_the_commands_code(console: Console, shop: Path) -> None:
    """Its namespaces, its environment, its output alone; the contract's exit codes."""
    said = console.anchor("exec", "web", "sh", "-c", "echo $SHOP; hostname; cat; exit 5", text="in")
    assert (said.code, said.out) == (5, "open\nweb\nin")
    assert console.anchor("exec", "web", "true").code == 0
    assert console.anchor(
        "exec", "-u", "web", "-w", "/tmp", "web", "sh", "-c", "id -u; pwd"
    ).out == ("1000\n/tmp\n")
    assert console.anchor("exec", "web", "/etc/not-executable").code == 126
    assert console.anchor("exec", "web", "nowhere").code == 127
    assert console.anchor("exec", "web", "sh", "-c", "kill -9 $$").code == 128 + signal.SIGKILL
    assert console.anchor("exec", "nobody", "true").code == 125
    assert console.anchor("exec", "setup", "true").code == 125


def test_stop_start_restart_and_kill(console: Console, shop: Path) -> None:
    """A stopped container stays stopped; one started again has a new pid and the same address."""
    before = console.rows(shop)
    assert console.anchor("stop", "worker.2").code == 0
    assert console.rows(shop)["worker.2"]["state"] == "stopped"
    assert console.rows(shop)["worker.1"]["pid"] == before["worker.1"]["pid"]
    assert console.anchor("start", "worker.2").code == 0
    assert console.anchor("restart", "worker.1").code == 0
    after = {
        name: console.row_when(
            shop, name, lambda row: row["state"] == "running", what=f"{name} runs again"
        )
        for name in ("worker.1", "worker.2")
    }
    for name, row in after.items():
        assert row["pid"] != before[name]["pid"]
        assert row["address"] == before[name]["address"]
    assert console.anchor("kill", "-s", "KILL", "web").code == 0
    again = console.row_when(
        shop,
        "web.1",
        lambda row: row["restarts"] == 1 and row["health"] == "healthy",
        what="the killed server is restarted",
    )
    assert again["address"] == before["web.1"]["address"]


def test_inspect_names_what_the_host_holds(console: Console, shop: Path) -> None:
    """Facts to look at from outside: the pid is a process in the cgroup that is named."""
    story = console.anchor("inspect", "web").json()
    pid = console.rows(shop)["web.1"]["pid"]
    cgroups = Path(f"/proc/{pid}/cgroup").read_text()
    assert story["pid"] == pid
    assert Path(story["host"]["cgroup"]).name == "web.1"
    assert "web.1" in cgroups
    assert "open" not in str(story["config"]["environment"])


def test_what_is_not_there_is_named(console: Console, shop: Path) -> None:
    """An unknown container, an unknown fleet, a verb of later days: exit code not 0, and why."""
    for words, name in (
        (["why", "nobody"], "nobody"),
        (["stop", "nobody"], "nobody"),
        (["-p", "nofleet", "ps"], "nofleet"),
        (["pause", "shop"], "pause"),
    ):
        said = console.anchor(*words)
        assert said.code != 0, said
        assert f"`{name}`" in said.err
        assert "Traceback" not in said.err
    assert {row["state"] for row in console.rows(shop).values()} >= {"running", "completed"}


def test_doctor_looks_at_the_machine(console: Console) -> None:
    """What this machine can and cannot do, as text and as one JSON document."""
    assert "cgroup" in console.anchor("doctor").out
    assert console.anchor("doctor", "--json").json()


def test_following_the_log_of_a_container_ends_with_the_fleet(
    console: Console, rootfs: Path
) -> None:
    """`logs -f` shows new lines as they come, and ends when nothing more can come."""
    fleet = console.write(
        "talk.toml",
        f"""
[containers.talker]
image = "{rootfs}"
command = "sh -c 'echo first; until test -e /go; do sleep 0.05; done; echo second; sleep 1000'"
""",
    )
    console.up(fleet)
    following = console.start_anchor("-p", "talk", "logs", "-f")
    following.wait_for("first")
    assert console.anchor("exec", "talker", "touch", "/go").code == 0
    following.wait_for("second")
    console.down(fleet)
    assert following.ended() == 0
