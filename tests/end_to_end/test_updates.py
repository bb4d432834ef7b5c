"""New versions under constant load: no request is lost, and a bad one is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console
from traffic import traffic_on

pytestmark = [pytest.mark.root, pytest.mark.native]

PORT = 18110


def shop(rootfs: Path, version: str, *, probe: str = "tcp = 80", **update: str) -> str:
    """A web server of two replicas that says which version it is."""
    policy = {"order": "start-first", "monitor": "200ms", "drain": "300ms", **update}
    written = ", ".join(f'{key} = "{value}"' for key, value in policy.items())
    return f"""
[containers.web]
image = "{rootfs}"
command = ["sh", "-c", "echo {version} > /srv/index.html; exec httpd -f -p 80 -h /srv"]
replicas = 2
ports = ["{PORT}:80"]
health = {{ {probe}, interval = "100ms", retries = 2 }}
update = {{ {written} }}
stop = {{ grace = "2s" }}
[containers.bystander]
image = "{rootfs}"
command = ["sleep", "1000"]
stop = {{ grace = "0s" }}
"""


def test_no_request_is_lost_in_an_update(console: Console, rootfs: Path) -> None:
    """Additional replicas first, connections led away before each stop: every answer is whole."""
    fleet = console.write("shop.toml", shop(rootfs, "one"))
    console.up(fleet)
    before = console.rows(fleet)
    with traffic_on(PORT) as traffic:
        fleet.write_text(shop(rootfs, "two"))
        said = console.anchor("apply", "-f", fleet)
        assert said.code == 0, said
    assert not traffic.lost, traffic.answers
    assert traffic.answers["one"] > 0
    assert traffic.answers["two"] > 0
    after = console.rows(fleet)
    assert after.keys() == before.keys(), "what was additional has gone"
    for name in ("web.1", "web.2"):
        assert after[name]["pid"] != before[name]["pid"]
        assert after[name]["address"] == before[name]["address"]
    assert after["bystander.1"] == before["bystander.1"]
    with traffic_on(PORT) as traffic:
        assert console.anchor("scale", "web=4").code == 0
        assert console.anchor("scale", "web=1").code == 0
    assert traffic.answers.keys() == {"two"}
    console.down(fleet)


@pytest.mark.parametrize("wish", ["rollback", "pause"])
def test_a_bad_version_does_not_get_through(console: Console, rootfs: Path, wish: str) -> None:
    """Its first replica is never well: what was is kept or brought back, and `apply` says so."""
    fleet = console.write("shop.toml", shop(rootfs, "one", on_failure=wish))
    console.up(fleet)
    with traffic_on(PORT) as traffic:
        bad = shop(rootfs, "two", probe='http = ":80/missing"', on_failure=wish)
        fleet.write_text(bad)
        said = console.anchor("apply", "-f", fleet)
        assert said.code == 1, said
    assert not traffic.lost, traffic.answers
    assert traffic.answers.keys() == {"one"}
    assert ("rolled back" if wish == "rollback" else "paused") in said.out + said.err
    rows = console.rows(fleet)
    assert {name for name, row in rows.items() if row["health"] == "healthy"} >= {"web.1", "web.2"}
    if wish == "rollback":
        assert rows.keys() == {"web.1", "web.2", "bystander.1"}
    planned = console.anchor("plan", "-f", fleet)
    assert "  command " in planned.out
    console.down(fleet)
