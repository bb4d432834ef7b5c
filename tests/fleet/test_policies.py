"""`limits`, `health`, `restart` and `stop`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import (
    ExecProbe,
    Health,
    HttpProbe,
    Limits,
    OnUnhealthy,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    TcpProbe,
)
from fleet_text import container, messages, problems


def test_all_eight_limits() -> None:
    """Sizes in bytes, processors as a number, and which keys the file wrote."""
    written = (
        'limits = { memory = "256M", memory_high = "200M", swap = "0", cpus = 0.5, '
        'cpu_weight = 100, cpuset = "0-1,3", pids = 128, io_weight = 100 }'
    )
    limits = container(written).limits
    names = ["memory", "memory_high", "swap", "cpus", "cpu_weight", "cpuset", "pids", "io_weight"]
    expected = Limits(256 << 20, 200 << 20, 0, 0.5, 100, "0-1,3", 128, 100, frozenset(names))
    assert limits == expected


def test_the_default_pids_are_not_declared() -> None:
    """A default is best-effort; what the file declares is strict."""
    assert container("").limits == Limits(pids=4096, declared=frozenset())
    assert container("limits = { pids = 4096 }").limits.declared == {"pids"}
    assert container('limits = { cpus = "150%" }').limits.cpus == 1.5


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('memory = "lots"', "`lots` is not a size"),
        ('memory = "-1M"', "`-1M` is not a size"),
        ("memory = 1.5", "`1.5` is a number, not a string"),
        ("memory = 256", "`256B` is too little for any process"),
        ("cpus = 0", "`0` is not between 0.01 and 1024"),
        ("cpus = nan", "`nan` is not between 0.01 and 1024"),
        ("cpu_weight = 0", "`0` is not between 1 and 10000"),
        ("io_weight = 10001", "`10001` is not between 1 and 10000"),
        ("pids = 0", "`0` is not between 1 and 4194304"),
        ('cpuset = "1-0"', "`1-0`: `1-0` runs backwards"),
        ('cpuset = "0,,1"', "`0,,1` is not a list of processors"),
        ('cpuset = "0\\n"', "`0\\n` is not a list of processors"),
        (
            'memory = "64M", memory_high = "65M"',
            "`65M` is above `memory`, `64M`, so it would never act",
        ),
    ],
)
def test_limits_that_cannot_be_meant(written: str, message: str) -> None:
    """Each with its value."""
    assert messages(f"limits = {{ {written} }}") == [message]


def test_every_probe() -> None:
    """A command, a port, a path; and when it is asked."""
    assert container('health = { exec = "pg -q" }').health == Health(ExecProbe(("pg", "-q")))
    assert container("health = { tcp = 80 }").health == Health(TcpProbe(80))
    assert container('health = { http = ":80" }').health == Health(HttpProbe(80, "/"))
    written = (
        'health = { http = ":8080/a?b=c", interval = "1s", timeout = "2s", retries = 5, '
        'start_period = "1m", on_failure = "stop" }'
    )
    expected = Health(HttpProbe(8080, "/a?b=c"), 1.0, 2.0, 5, 60.0, OnUnhealthy.STOP)
    assert container(written).health == expected
    assert container("").health is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "exactly one probe is needed: none given"),
        ('tcp = 80, http = ":80"', "exactly one probe is needed: `tcp` and `http` given"),
        ('log = "ready"', "`log` is not supported yet"),
        ("notify = true", "`notify` is not supported yet"),
        ("exec = []", "the command is empty"),
        ("tcp = 0", "`0`: `0` is not between 1 and 65535"),
        ('http = "http://x/"', "`http://x/` is not `:PORT/PATH`"),
        ('http = ":80/a b"', "`:80/a b` is not `:PORT/PATH`"),
        ('http = ":80/\\r\\nHost: x"', "`:80/\\r\\nHost: x` is not `:PORT/PATH`"),
        ('tcp = 80, interval = "0s"', "`0s` is under 10ms"),
        ("tcp = 80, retries = 0", "`0` is not between 1 and 1000"),
        ('tcp = 80, on_failure = "reboot"', "`reboot` is none of `restart`, `stop`, `none`"),
    ],
)
def test_health_checks_that_cannot_be_meant(written: str, message: str) -> None:
    """One problem each, and none that follows from it."""
    assert messages(f"health = {{ {written} }}") == [message]


def test_restart_is_a_word_or_a_table() -> None:
    """On failure for services, not at all for jobs, unless the file says so."""
    assert container("").restart == RestartPolicy(RestartWhen.ON_FAILURE)
    assert container('kind = "job"').restart == RestartPolicy(RestartWhen.NO)
    assert container('restart = "always"').restart == RestartPolicy(RestartWhen.ALWAYS)
    written = (
        'restart = { when = "always", delay = "200ms", factor = 3, max_delay = "30s", '
        'jitter = "20%", max = 5, window = "5m", reset_after = "1m" }'
    )
    expected = RestartPolicy(RestartWhen.ALWAYS, 0.2, 3.0, 30.0, 0.2, 5, 300.0, 60.0)
    assert container(written).restart == expected
    assert container("restart = { max = 3 }").restart == RestartPolicy(max=3)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('"unless-stopped"', "`unless-stopped` is a word of compose's"),
        ('"on-failure:5"', "`on-failure:5`: how often is a key of its own"),
        ("false", "`false` is a boolean, not a string"),
        ("{ when = false }", "`false` is a boolean, not a string"),
        ('"sometimes"', "`sometimes` is none of `no`, `on-failure`, `always`"),
        ('{ delay = "0s" }', "`0s` is under 1ms"),
        ("{ factor = 0.5 }", "`0.5` is not between 1 and 1000"),
        ("{ jitter = 2 }", "`2` is not between 0 and 1"),
        ("{ max = 0 }", "`0` is not between 1 and 1000000"),
        ('{ when = "no", max = 3 }', "`max` has no meaning where nothing is restarted"),
        ('{ delay = "2m", max_delay = "1m" }', "`1m` is below `delay`, `2m`"),
        ("{ maxi = 3 }", "unknown key `maxi`"),
    ],
)
def test_restarts_that_cannot_be_meant(written: str, message: str) -> None:
    """One problem each."""
    assert messages(f"restart = {written}") == [message]


def test_stop() -> None:
    """A signal with or without SIG, and how long it is given."""
    assert container("").stop == StopPolicy("TERM", 10.0)
    written = 'stop = { signal = "sigquit", grace = "0s" }'
    assert container(written).stop == StopPolicy("QUIT", 0.0, frozenset({"signal", "grace"}))
    found = problems('stop = { signal = "TRM", grace = 10, command = ["x"] }')
    assert [(one.message, one.hint) for one in found] == [
        ("`command` is not supported yet", None),
        ("`10` has no unit", '`"10s"` is 10 seconds'),
        ("`TRM` is not a signal", "did you mean `TERM`?"),
    ]
