"""Limits, proved by exceeding them, on a machine whose kernel enforces them."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console
from waiting import eventually

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
    [event] = eventually(
        lambda: [one for one in console.journal("greedy") if one["event"] == "oom"],
        what="the kill is an event of its own",
    )
    assert event["container"] == "greedy.1"
    assert event["count"] >= 1
    assert event["limit"] == 64 << 20
    assert "limit 64M" in console.anchor("events", "-p", "greedy").out
    console.down(fleet)


def test_changed_limits_take_no_new_run(console: Console, rootfs: Path) -> None:
    """`apply` writes the cgroup, enables what nobody needed before, and lifts what is gone."""

    def write(limits: str) -> Path:
        return console.write(
            "modest.toml",
            f"""
[containers.modest]
image = "{rootfs}"
command = "sleep 1000"
limits = {{ {limits} }}
""",
        )

    fleet = write('memory = "64M", pids = 8')
    console.up(fleet)
    group, before = console.cgroup_of(fleet, "modest.1"), console.rows(fleet)["modest.1"]
    write('memory = "128M", cpus = 0.5, cpuset = "0"')
    said = console.anchor("apply", "-f", fleet)
    assert said.code == 0, said
    files = ("memory.max", "cpu.max", "cpuset.cpus", "pids.max")
    assert [(group / file).read_text().strip() for file in files] == [
        str(128 << 20), "50000 100000", "0", "4096",
    ]  # fmt: skip
    write("")
    said = console.anchor("apply", "-f", fleet)
    assert said.code == 0, said
    assert (group / "memory.max").read_text() == "max\n"
    assert (group / "cpu.max").read_text() == "max 100000\n"
    after = console.rows(fleet)["modest.1"]
    assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])
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
