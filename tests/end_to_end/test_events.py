"""What the kernel says of a container's memory, as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.vm


def test_a_kill_for_want_of_memory_is_an_event(console: Console, rootfs: Path) -> None:
    """A child's greed ends the container; who, what limit and how many is in `events` and `why`."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.hog]
image = "{rootfs}"
command = ["sh", "-c", "until test -e /go; do sleep 0.1; done; tail /dev/zero; echo survived"]
limits = {{ memory = "32M", swap = "0" }}
restart = "no"
stop = {{ grace = "0s" }}
""",
    )
    console.up(fleet)
    assert console.anchor("exec", "hog", "touch", "/go").code == 0
    kills = eventually(
        lambda: [one for one in console.journal("shop") if one["event"] == "oom"],
        what="the kill is written down",
        deadline=3 * DEADLINE,
    )
    assert (kills[0]["container"], kills[0]["limit"]) == ("hog.1", 32 << 20)
    assert kills[0]["count"] >= 1
    row = console.row_when(fleet, "hog.1", lambda row: row["state"] == "failed", what="it ends")
    assert row["oom"] == "oom (limit 32M, peak 32M)"
    assert f"oom: {kills[0]['count']} process" in console.anchor("events", "hog").out
    assert "limit 32M, peak 32M" in console.anchor("why", "hog").out
    console.down(fleet)
