"""Probes and stops as a person meets them: in the file, in `ps`, in `why`."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console, Row
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]

SLEEP = "exec sleep 1000"


def container(rootfs: Path, script: str, *lines: str, name: str = "web") -> str:
    """One container that runs this script."""
    command = f"command = ['sh', '-c', '''{script}''']".replace("$", "$$")
    table = [f"[containers.{name}]", f'image = "{rootfs}"', command, 'networks = "none"']
    return "\n".join([*table, *lines, ""])


def becomes(console: Console, fleet: Path, name: str, key: str, value: str) -> Row:
    """Wait until this key of a row has this value; return the row."""
    what = f"the {key} of {name} is {value}"
    return console.row_when(fleet, name, lambda row: row[key] == value, what=what)


def test_a_line_of_output_releases_who_waits_for_it(console: Console, rootfs: Path) -> None:
    """Of this run alone: after a restart it must be said again."""
    talker = "until test -e /tmp/go; do sleep 0.02; done; rm /tmp/go; echo ready to serve >&2;"
    fleet = console.write(
        "shop.toml",
        container(rootfs, talker + SLEEP, "health = { log = '^ready', timeout = '100s' }")
        + container(rootfs, SLEEP, 'depends_on = { web = "healthy" }', name="app"),
    )
    up = console.start(fleet)
    up.wait_for("starting")
    becomes(console, fleet, "web.1", "health", "starting")
    assert console.rows(fleet)["app.1"]["state"] == "waiting"
    assert console.anchor("exec", "web", "touch", "/tmp/go").code == 0
    becomes(console, fleet, "web.1", "health", "healthy")
    assert "seen: ready to serve" in console.anchor("why", "web").out
    app = becomes(console, fleet, "app.1", "state", "running")
    assert console.anchor("restart", "web").code == 0
    assert console.rows(fleet)["web.1"]["health"] == "starting"
    assert console.rows(fleet)["app.1"]["pid"] == app["pid"]
    assert console.anchor("exec", "web", "touch", "/tmp/go").code == 0
    becomes(console, fleet, "web.1", "health", "healthy")
    console.down(fleet)
    assert up.ended() == 0


def test_a_pattern_that_takes_too_long_makes_nobody_wait(console: Console, rootfs: Path) -> None:
    """It is given up, the container is unhealthy, and `why` says for which reason."""
    fleet = console.write(
        "shop.toml",
        container(
            rootfs,
            f"head -c 3000 /dev/zero | tr '\\000' a; echo; {SLEEP}",
            "health = { log = '^(([a-z])+.)+[A-Z]([a-z])+$$', timeout = '0.2s', retries = 1,"
            " on_failure = 'none' }",
        )
        + container(rootfs, SLEEP, name="other"),
    )
    up = console.start(fleet)
    up.wait_for("starting")
    becomes(console, fleet, "web.1", "health", "unhealthy")
    assert "was given up: a line took longer than 20ms" in console.anchor("why", "web").out
    assert console.rows(fleet)["other.1"]["state"] == "running"
    console.down(fleet)
    assert up.ended() == 0


def test_a_message_makes_ready(console: Console, host_image: str) -> None:
    """With `startup` and then another probe; `why` shows the status that it told."""
    sender = (
        "import os, socket, time\n"
        "sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sender.connect(os.environ['NOTIFY_SOCKET'])\n"
        "sender.send(b'STATUS=all 7 shelves are full\\nREADY=1')\n"
        "time.sleep(1000)\n"
    )
    fleet = console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{host_image}"
command = ["/usr/bin/python3", "-IS", "-c", '''{sender}''']
startup = {{ notify = true, timeout = "100s" }}
health = {{ exec = ["true"] }}
""",
    )
    console.up(fleet)
    assert console.rows(fleet)["web.1"]["health"] == "healthy"
    assert "all 7 shelves are full" in console.anchor("why", "web").out
    console.down(fleet)


def test_who_will_not_stop_is_known_before(console: Console, rootfs: Path) -> None:
    """`why` and the journal name it and the remedy while it runs; the stop ends as they say."""
    fleet = console.write(
        "shop.toml",
        container(rootfs, SLEEP, "init = false", "stop = { grace = '1s' }")
        + container(rootfs, SLEEP, name="polite"),
    )
    console.up(fleet)
    words = "its process 1 does not handle TERM, so a stop takes the whole grace of 1s"
    why = console.anchor("why", "web").out
    assert words in " ".join(why.split())
    assert "`init = true` would help" in " ".join(why.split())
    assert "a kill" not in console.anchor("why", "polite").out
    eventually(
        lambda: [one for one in console.journal("shop") if one["event"] == "deaf"],
        what="the journal has it",
    )
    [deaf] = [one for one in console.journal("shop") if one["event"] == "deaf"]
    assert deaf["container"] == "web.1"
    assert deaf["reason"].startswith(words)
    assert console.anchor("stop", "web").code == 0
    assert console.rows(fleet)["web.1"]["signal"] == 9
    console.down(fleet)


def test_a_stop_command_is_run_and_told(console: Console, rootfs: Path) -> None:
    """Before the signal; what it said is in `why`."""
    fleet = console.write(
        "shop.toml",
        container(
            rootfs,
            "trap 'test -e /tmp/bye && exit 0' TERM; while :; do sleep 0.02; done",
            "stop = { command = ['sh', '-c', 'touch /tmp/bye; echo waved; exit 7'] }",
        ),
    )
    console.up(fleet)
    assert console.anchor("stop", "web").code == 0
    assert console.rows(fleet)["web.1"]["exit_code"] == 0
    why = console.anchor("why", "web").out
    assert "waved" in why
    assert "exit code 7" in why
    console.down(fleet)
