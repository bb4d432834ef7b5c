"""Dependencies for life and health that flaps, told by real containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console

pytestmark = [pytest.mark.root, pytest.mark.native]

WELL = "test -e /well"


def states(console: Console, name: str) -> list[tuple[str, str]]:
    """Every state and health that the journal has of an instance, in order, doubles left out."""
    found: list[tuple[str, str]] = []
    for entry in console.journal("shop"):
        if entry["event"] == "transition" and entry["container"] == name:
            now = (entry["state"], entry["health"])
            if not found or found[-1] != now:
                found.append(now)
    return found


@pytest.mark.parametrize("reaction", ["ignore", "restart", "signal HUP"])
def test_a_database_dies_and_its_dependents_follow(
    console: Console, rootfs: Path, reaction: str
) -> None:
    """By `on_restart`: left alone, stopped until it is well again, or told when it is."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.db]
image = "{rootfs}"
command = ["sh", "-c", "sleep 0.2; touch /well; exec sleep 1000"]
volatile = true
health = {{ exec = ["sh", "-c", "{WELL}"], interval = "1s" }}
restart = {{ delay = "10ms" }}
networks = "none"
[containers.web]
image = "{rootfs}"
command = ["sh", "-c", "trap 'echo heard HUP' HUP; while :; do sleep 0.1; done"]
depends_on = {{ db = {{ condition = "healthy", on_restart = "{reaction}" }} }}
stop = {{ grace = "500ms" }}
networks = "none"
""",
    )
    console.up(fleet)
    before = console.rows(fleet)
    assert console.anchor("kill", "-s", "KILL", "db").code == 0
    console.row_when(
        fleet,
        "db.1",
        lambda row: row["health"] == "healthy" and row["restarts"] == 1,
        what="the database is back",
    )
    web = console.row_when(
        fleet, "web.1", lambda row: row["state"] == "running", what="the server runs"
    )
    if reaction == "restart":
        assert web["pid"] != before["web.1"]["pid"]
        told = [
            (entry["container"], entry["state"], entry["health"])
            for entry in console.journal("shop")
            if entry["event"] == "transition"
        ]
        again = max(at for at, one in enumerate(told) if one[:2] == ("web.1", "starting"))
        well = [at for at, one in enumerate(told) if one[0] == "db.1" and one[2] == "healthy"]
        assert well[0] < well[1] < again, "it was started before its database was well again"
    else:
        assert web["pid"] == before["web.1"]["pid"]
        assert web["started_at"] == before["web.1"]["started_at"]
    if reaction == "signal HUP":
        said = console.anchor("logs", "-f", "--tail", "1", "web", wrapped=("timeout", "0.5"))
        assert "heard HUP" in said.out
    console.down(fleet)


def test_health_that_flaps_is_restarted_and_counted(console: Console, rootfs: Path) -> None:
    """Well, then ill for good: restarted by its policy until that gives up, and it says why."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{rootfs}"
command = ["sh", "-c", "touch /well; sleep 0.4; rm /well; exec sleep 1000"]
volatile = true
health = {{ exec = ["sh", "-c", "{WELL}"], interval = "50ms", retries = 2 }}
restart = {{ delay = "20ms", max = 2, window = "1m" }}
stop = {{ grace = "100ms" }}
networks = "none"
""",
    )
    console.up(fleet)
    row = console.row_when(fleet, "web.1", lambda row: row["state"] == "failed", what="given up")
    assert row["restarts"] == 2
    assert "gave up: 2 restarts within 1m" in row["reason"]
    assert "unhealthy: 2 probes failed in a row" in row["reason"]
    seen = states(console, "web.1")
    assert seen.count(("running", "healthy")) == 3
    assert seen.count(("running", "unhealthy")) == 3
    said = console.anchor("why", "web")
    assert "2 attempts in the last 1m (at most 2)" in said.out
    console.down(fleet)
