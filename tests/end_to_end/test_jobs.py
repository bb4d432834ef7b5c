"""Jobs: once while nothing about them changed, and again and again by a schedule."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from console import Console
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]


def runs(console: Console, fleet: str, name: str) -> int:
    """How often the journal has seen an instance start."""
    return sum(
        entry["event"] == "transition"
        and entry["container"] == name
        and entry["state"] == "running"
        and entry["before"] == "starting"
        for entry in console.journal(fleet)
    )


def test_a_job_runs_again_only_after_its_input_has_changed(console: Console, rootfs: Path) -> None:
    """Not after an apply of the same, nor a restart around it; but for a new file, or command."""
    schema = console.write("schema.sql", "create table a;\n")
    text = f"""
[containers.db]
image = "{rootfs}"
command = ["sleep", "1000"]
stop = {{ grace = "0s" }}
networks = "none"
[containers.migrate]
kind = "job"
image = "{rootfs}"
command = ["cat", "/schema.sql"]
volumes = ["{schema}:/schema.sql:ro"]
depends_on = ["db"]
networks = "none"
[containers.web]
image = "{rootfs}"
command = ["sleep", "1000"]
depends_on = {{ migrate = "completed" }}
stop = {{ grace = "0s" }}
networks = "none"
"""
    fleet = console.write("shop.toml", text)
    console.up(fleet)
    web = console.rows(fleet)["web.1"]
    assert console.anchor("apply", "-f", fleet).code == 0
    assert console.anchor("restart", "db").code == 0
    assert runs(console, "shop", "migrate.1") == 1
    schema.write_text("create table b;\n")
    planned = console.anchor("plan", "-f", fleet)
    assert "migrate" in planned.out
    assert "/schema.sql" in planned.out
    assert "web" not in planned.out
    said = console.anchor("apply", "-f", fleet)
    assert said.code == 0, said
    assert runs(console, "shop", "migrate.1") == 2
    assert "create table b" in console.anchor("logs", "migrate").out
    fleet.write_text(text.replace('"cat"', '"cat", "-"'))
    assert console.anchor("apply", "-f", fleet).code == 0
    assert runs(console, "shop", "migrate.1") == 3
    assert console.rows(fleet)["web.1"]["pid"] == web["pid"]
    console.down(fleet)


def test_a_job_of_every_second(console: Console, rootfs: Path) -> None:
    """It runs at once and on its grid; `ps` says when next; nothing else is held up by it."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.beat]
kind = "job"
image = "{rootfs}"
command = ["echo", "beat"]
schedule = {{ every = "1s" }}
networks = "none"
[containers.web]
image = "{rootfs}"
command = ["sleep", "1000"]
stop = {{ grace = "0s" }}
networks = "none"
""",
    )
    console.up(fleet)
    eventually(lambda: runs(console, "shop", "beat.1") >= 4, what="four beats")
    begun = [
        entry["time"]
        for entry in console.journal("shop")
        if entry["event"] == "transition"
        and entry["container"] == "beat.1"
        and entry["state"] == "starting"
    ]
    seconds = [float(time[17:29]) for time in begun]
    steps = [(after - before) % 60 for before, after in itertools.pairwise(seconds)]
    assert all(0.5 < step < 1.5 for step in steps), steps
    assert abs(sum(steps) / len(steps) - 1.0) < 0.1, "the grid has no drift"
    row = console.row_when(
        fleet, "beat.1", lambda row: row["state"] == "completed", what="it is between two runs"
    )
    assert row["next_at"] is not None
    assert console.anchor("stop", "beat").code == 0
    stopped = runs(console, "shop", "beat.1")
    row = console.rows(fleet)["beat.1"]
    assert (row["state"] in {"stopped", "completed"}, row["next_at"]) == (True, None)
    assert console.anchor("start", "beat").code == 0
    eventually(lambda: runs(console, "shop", "beat.1") > stopped, what="it beats again")
    console.down(fleet)
