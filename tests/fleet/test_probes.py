"""`health` and `startup`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from anchor_supervisor.fleet.model import (
    ExecProbe,
    Health,
    HttpProbe,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    Startup,
    TcpProbe,
)
from fleet_text import container, messages


def test_every_probe() -> None:
    """A command, a port, a path, a pattern, a word of its own; and when it is asked."""
    assert container('health = { exec = "pg -q" }').health == Health(ExecProbe(("pg", "-q")))
    assert container("health = { tcp = 80 }").health == Health(TcpProbe(80))
    assert container('health = { http = ":80" }').health == Health(HttpProbe(80, "/"))
    assert container("health = { log = 'ready \\d+$$' }").health == Health(LogProbe("ready \\d+$"))
    assert container("health = { notify = true }").health == Health(NotifyProbe())
    written = (
        'health = { http = ":8080/a?b=c", interval = "1s", timeout = "2s", retries = 5, '
        'start_period = "1m", on_failure = "stop" }'
    )
    expected = Health(HttpProbe(8080, "/a?b=c"), 1.0, 2.0, 5, 60.0, OnUnhealthy.STOP)
    assert container(written).health == expected
    assert container("").health is None


def test_a_startup_probe_has_defaults_of_its_own() -> None:
    """It is asked more often, and fails later."""
    assert container("").startup is None
    assert container("startup = { tcp = 80 }").startup == Startup(TcpProbe(80), 1.0, 5.0, 30)
    written = 'startup = { exec = ["x"], interval = "2s", timeout = "1s", retries = 3 }'
    assert container(written).startup == Startup(ExecProbe(("x",)), 2.0, 1.0, 3)
    assert container("startup = { notify = true }").startup == Startup(NotifyProbe())


@pytest.mark.parametrize("table", ["health", "startup"])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "exactly one probe is needed: none given"),
        ('tcp = 80, http = ":80"', "exactly one probe is needed: `tcp` and `http` given"),
        ('log = "x", notify = true', "exactly one probe is needed: `log` and `notify` given"),
        ("exec = []", "the command is empty"),
        ("tcp = 0", "`0`: `0` is not between 1 and 65535"),
        ('http = "http://x/"', "`http://x/` is not `:PORT/PATH`"),
        ('http = ":80/a b"', "`:80/a b` is not `:PORT/PATH`"),
        ('http = ":80/\\r\\nHost: x"', "`:80/\\r\\nHost: x` is not `:PORT/PATH`"),
        ('log = ""', "the value is empty"),
        ("log = 5", "`5` is a number, not a string"),
        ('log = "(ready"', "`(ready` is not a regular expression: missing ) at position 6"),
        ('log = "*"', "`*` is not a regular expression: nothing to repeat at position 0"),
        (f'log = "{"x" * 1025}"', f"`{'x' * 80}…` has more than 1024 letters"),
        ("notify = false", "`notify = false` asks for nothing"),
        ('notify = "yes"', "`yes` is a string, not `true` or `false`"),
        (
            'notify = true, interval = "1s"',
            "`interval` has no meaning for `notify`, which is asked once a run",
        ),
        (
            'log = "x", interval = "1s"',
            "`interval` has no meaning for `log`, which is asked once a run",
        ),
        ('tcp = 80, interval = "0s"', "`0s` is under 10ms"),
        ('tcp = 80, timeout = "1ms"', "`1ms` is under 10ms"),
        ("tcp = 80, retries = 0", "`0` is not between 1 and 1000"),
        ("tcp = 80, port = 80", "unknown key `port`"),
    ],
)
def test_probes_that_cannot_be_meant(table: str, written: str, message: str) -> None:
    """One problem each, and none that follows from it."""
    assert messages(f"{table} = {{ {written} }}") == [message]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('health = { tcp = 80, on_failure = "x" }', "`x` is none of `restart`, `stop`, `none`"),
        ('startup = { tcp = 80, start_period = "1s" }', "unknown key `start_period`"),
        ('startup = { tcp = 80, on_failure = "stop" }', "unknown key `on_failure`"),
        ('startup = "none"', "`none` is a string, not a table"),
    ],
)
def test_what_one_of_the_two_has_the_other_does_not_know(line: str, message: str) -> None:
    """What becomes of an unhealthy container is said once, in `health`."""
    assert messages(line) == [message]


def test_regular_expressions_cost_nothing_where_there_are_none() -> None:
    """Neither `regex` nor `cronsim` is loaded for a fleet that needs none: they take 40 ms."""
    program = (
        "import sys\nfrom anchor_supervisor.fleet.parse import loads\n"
        'text = \'[containers.web]\\nimage = "host"\\ncommand = "x"\\n\'\n'
        "loads(text, file='x.toml', directory='/', environment={})\n"
        "print(sorted({'regex', 'cronsim', 'zoneinfo'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
