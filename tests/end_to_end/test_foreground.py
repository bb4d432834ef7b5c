"""`anchor-supervise FLEET.toml` in the foreground: what it shows, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from console import Console
from waiting import SLOWNESS

pytestmark = [pytest.mark.root, pytest.mark.native]


def chain(rootfs: Path) -> str:
    """Three services, each needing the one before it."""
    return f"""
[containers.store]
image = "{rootfs}"
command = "sh -c 'echo store is up; exec sleep 1000'"
[containers.shop]
image = "{rootfs}"
command = "sh -c 'echo shop is up; exec sleep 1000'"
depends_on = {{ store = "started" }}
[containers.front]
image = "{rootfs}"
command = "sh -c 'echo front is up; echo and says so >&2; exec sleep 1000'"
depends_on = {{ shop = "started" }}
"""


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
def test_one_request_stops_in_order(console: Console, rootfs: Path, how: str) -> None:
    """Output is prefixed by container; dependents stop first; exit code 0; nothing is left."""
    fleet = console.write("shop.toml", chain(rootfs))
    running = console.start(fleet)
    text = running.wait_for("and says so")
    for name in ("store", "shop", "front"):
        line = next(line for line in text.splitlines() if f"{name} is up" in line)
        assert line.startswith(name)
    if how == "ctrl-c":
        running.interrupt()
    else:
        running.send(signal.SIGTERM)
    assert running.ended() == 0
    stopped = [
        event["container"] for event in console.journal("shop") if event["state"] == "stopped"
    ]
    assert stopped == ["front.1", "shop.1", "store.1"]


def test_a_second_ctrl_c_kills_at_once(console: Console, rootfs: Path) -> None:
    """A container that ignores its stop signal has its grace, unless it is asked again."""
    fleet = console.write(
        "deaf.toml",
        f"""
[containers.deaf]
image = "{rootfs}"
command = ["sh", "-c", "trap '' TERM; echo deaf is up; while :; do sleep 1; done"]
stop = {{ grace = "10m" }}
""",
    )
    running = console.start(fleet)
    running.wait_for("deaf is up")
    running.interrupt()
    running.wait_for("stopping")
    began = time.monotonic()
    running.interrupt()
    assert running.ended() == 0
    assert time.monotonic() - began < 5 * SLOWNESS
    assert console.journal("deaf")[-1]["exit"] == "killed by SIGKILL"


def test_grace_ends_with_a_kill(console: Console, rootfs: Path) -> None:
    """What is not gone after `grace` is killed, without being asked twice."""
    fleet = console.write(
        "deaf.toml",
        f"""
[containers.deaf]
image = "{rootfs}"
command = ["sh", "-c", "trap '' TERM; echo deaf is up; while :; do sleep 1; done"]
stop = {{ grace = "200ms" }}
""",
    )
    running = console.start(fleet)
    running.wait_for("deaf is up")
    running.interrupt()
    assert running.ended() == 0
    assert console.journal("deaf")[-1]["exit"] == "killed by SIGKILL"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        pytest.param('kind = "job"\ncommand = ["true"]', 0, id="all jobs succeeded"),
        pytest.param('kind = "job"\ncommand = ["false"]', 1, id="a job failed"),
        pytest.param(
            'command = ["false"]\nessential = true\nrestart = { max = 1, delay = "1ms" }',
            1,
            id="an essential container gave up",
        ),
    ],
)
def test_a_fleet_that_is_done_ends_by_itself(
    console: Console, rootfs: Path, table: str, code: int
) -> None:
    """Nothing runs and nothing will: the exit code says how it went."""
    fleet = console.write("work.toml", f'[containers.work]\nimage = "{rootfs}"\n{table}\n')
    assert console.supervise(fleet).code == code


def test_quiet_shows_our_lines_only_and_json_makes_them_values(
    console: Console, rootfs: Path
) -> None:
    """With --quiet the output stays in the log; with --log-format json every line is an object."""
    fleet = console.write(
        "work.toml",
        f'[containers.work]\nkind = "job"\nimage = "{rootfs}"\ncommand = "echo spoken"\n',
    )
    said = console.supervise("--quiet", "--log-format", "json", fleet)
    assert said.code == 0
    assert "spoken" not in said.out + said.err
    lines = [json.loads(line) for line in (said.out + said.err).splitlines()]
    assert any(line.get("container") == "work.1" for line in lines)
    assert "spoken" in console.anchor("-p", "work", "logs").out
