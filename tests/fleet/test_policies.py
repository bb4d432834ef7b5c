"""`limits`, `restart`, `stop` and `update`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import (
    Limits,
    OnUpdateFailure,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    UpdateOrder,
    UpdatePolicy,
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
    assert container('restart = { delay = "0s" }').restart == RestartPolicy(delay=0.0)
    codes = 'restart = { when = "always", on_exit_codes = [75, 0, 75], never_on_exit_codes = [2] }'
    expected = RestartPolicy(
        RestartWhen.ALWAYS,
        on_exit_codes=frozenset({0, 75}),
        never_on_exit_codes=frozenset({2}),
    )
    assert container(codes).restart == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('"unless-stopped"', "`unless-stopped` is a word of compose's"),
        ('"on-failure:5"', "`on-failure:5`: how often is a key of its own"),
        ("false", "`false` is a boolean, not a string"),
        ("{ when = false }", "`false` is a boolean, not a string"),
        ('"sometimes"', "`sometimes` is none of `no`, `on-failure`, `always`"),
        ('{ delay = "1us" }', "`1us` is under 1ms"),
        ('{ delay = "0s", jitter = 0 }', "`jitter` has no meaning where no `delay` is waited"),
        ("{ on_exit_codes = 75 }", "`75` is a number, not a list"),
        ("{ on_exit_codes = [] }", "no exit code is named"),
        ("{ on_exit_codes = [256] }", "`256` is not between 0 and 255"),
        ('{ never_on_exit_codes = ["x"] }', "`x` is not a whole number"),
        (
            "{ on_exit_codes = [0, 1] }",
            "exit code `0` is no failure, after which alone there is a restart",
        ),
        (
            "{ never_on_exit_codes = [0] }",
            "exit code `0` is no failure, after which alone there is a restart",
        ),
        (
            "{ on_exit_codes = [2, 75], never_on_exit_codes = [2] }",
            "exit code `2` is in `never_on_exit_codes` as well",
        ),
        (
            '{ when = "no", never_on_exit_codes = [2] }',
            "`never_on_exit_codes` has no meaning where nothing is restarted",
        ),
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
    """A signal with or without SIG, how long it is given, and what comes before it."""
    assert container("").stop == StopPolicy("TERM", 10.0)
    written = 'stop = { signal = "sigquit", grace = "0s" }'
    assert container(written).stop == StopPolicy("QUIT", 0.0, frozenset({"signal", "grace"}))
    written = 'stop = { command = "pg_ctl stop" }'
    assert container(written).stop == StopPolicy(command=("pg_ctl", "stop"))
    found = problems('stop = { signal = "TRM", grace = 10, command = [] }')
    assert [(one.message, one.hint) for one in found] == [
        ("the command is empty", None),
        ("`10` has no unit", '`"10s"` is 10 seconds'),
        ("`TRM` is not a signal", "did you mean `TERM`?"),
    ]


def test_update() -> None:
    """One at a time, old before new, unless the file says otherwise."""
    assert container("").update == UpdatePolicy()
    written = (
        'ports = ["80:80"]\nupdate = { order = "start-first", parallelism = 2, monitor = "10s", '
        'drain = "5s", on_failure = "rollback" }'
    )
    expected = UpdatePolicy(UpdateOrder.START_FIRST, 2, 10.0, 5.0, OnUpdateFailure.ROLLBACK)
    assert container(written).update == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('"start-first"', "`start-first` is a string, not a table"),
        ('{ order = "startfirst" }', "`startfirst` is none of `stop-first`, `start-first`"),
        ("{ parallelism = 0 }", "`0` is not between 1 and 1000"),
        ("{ monitor = 10 }", "`10` has no unit"),
        ('{ drain = "61m" }', "`61m` is over 1h"),
        ('{ on_failure = "stop" }', "`stop` is none of `pause`, `rollback`, `continue`"),
        ('{ delay = "1s" }', "unknown key `delay`"),
    ],
)
def test_updates_that_cannot_be_meant(written: str, message: str) -> None:
    """One problem each."""
    assert messages(f"update = {written}") == [message]
