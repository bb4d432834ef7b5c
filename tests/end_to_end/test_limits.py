"""Limits, proved by exceeding them, on a machine whose kernel enforces them."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console

pytestmark = pytest.mark.vm


def test_too_much_memory_is_told_as_such(console: Console, rootfs: Path) -> None:
    """`why` and ps say `oom` with limit and peak, not a bare signal; the container is restarted."""
    fleet = console.write(
        "greedy.toml",
        f"""
[containers.greedy]
image = "{rootfs}"
command = ["tail", "/dev/zero"]
limits = {{ memory = "64M", swap = "0" }}
restart = {{ when = "on-failure", delay = "10m", max_delay = "10m" }}
""",
    )
    console.up(fleet)
    row = console.row_when(
        fleet, "greedy.1", lambda row: row["state"] == "backoff", what="the greedy one is killed"
    )
    assert row["oom"].startswith("oom (limit 64M, peak 6")
    assert row["oom"] in row["reason"]
    assert row["oom"] in console.anchor("why", "greedy").out
    console.down(fleet)


def test_limits_are_written_where_the_kernel_reads_them(console: Console, rootfs: Path) -> None:
    """cpu.max, cpu.weight, memory.max, memory.high, memory.swap.max and pids.max as declared."""
    fleet = console.write(
        "modest.toml",
        f"""
[containers.modest]
image = "{rootfs}"
command = "sleep 1000"
[containers.modest.limits]
memory = "64M"
memory_high = "48M"
swap = "0"
cpus = 0.5
cpu_weight = 50
pids = 8
""",
    )
    console.up(fleet)
    group = console.cgroup_of(fleet, "modest.1")
    quota, period = map(int, (group / "cpu.max").read_text().split())
    assert quota * 2 == period
    expected = {
        "cpu.weight": "50",
        "memory.max": str(64 << 20),
        "memory.high": str(48 << 20),
        "pids.max": "8",
    }
    assert {name: (group / name).read_text().strip() for name in expected} == expected
    swap = group / "memory.swap.max"
    assert not swap.exists() or swap.read_text() == "0\n"
    forks = "for i in $(seq 20); do sleep 100 >/dev/null 2>&1 & done"
    said = console.anchor("exec", "modest", "sh", "-c", forks)
    assert "can't fork" in said.err
    assert "max 0" not in (group / "pids.events").read_text()
    console.down(fleet)


def test_run_with_too_little_memory_exits_as_killed(console: Console, rootfs: Path) -> None:
    """`anchor run --memory` ends with 128+9, and says why on standard error."""
    said = console.anchor("run", "-i", rootfs, "--memory", "32M", "tail", "/dev/zero")
    assert said.code == 137, said
    assert "oom (limit 32M" in said.err
