"""`--check` and `--plan`: everything is looked at, nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console import Console
from leaks import Snapshot

pytestmark = [pytest.mark.root, pytest.mark.native]

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


def shop(console: Console, rootfs: Path) -> Path:
    """A fleet with a bit of everything."""
    return console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{rootfs}"
command = "sleep 1000"
ports = ["18081:80"]
volumes = ["site:/site", "tmpfs:/scratch:size=16M"]
[containers.after]
image = "{rootfs}"
command = "sleep 1000"
depends_on = {{ web = "started" }}
[volumes.site]
""",
    )


def test_check_says_that_all_is_well(console: Console, rootfs: Path) -> None:
    """A right file on a fit machine: exit code 0, in words or as one JSON document."""
    fleet = shop(console, rootfs)
    before = Snapshot.take(console.run_dir, console.data_dir)
    assert console.supervise("--check", fleet).code == 0
    said = console.supervise("--check", "--json", fleet)
    assert said.code == 0
    assert said.json()["fleet"] == "shop"
    assert said.json()["containers"] == 2
    assert not Snapshot.take(console.run_dir, console.data_dir).since(before)


def test_plan_prints_every_step_and_takes_none(console: Console, rootfs: Path) -> None:
    """Each mount, namespace, capability and step of each container, readable; nothing is made."""
    fleet = shop(console, rootfs)
    before = Snapshot.take(console.run_dir, console.data_dir)
    text = console.supervise("--plan", fleet).out
    document = console.supervise("--plan", "--json", fleet).json()
    assert not Snapshot.take(console.run_dir, console.data_dir).since(before)
    for words in ("container web.1", "container after.1", "wait until", "capabilit"):
        assert words in text
    for words in ("/proc", "/dev/shm", "/site", "/scratch", "user namespace", "execute `sleep`"):
        assert words in text, words
    assert [instance["name"] for instance in document["instances"]] == ["web.1", "after.1"]
    assert "execute `sleep`" in json.dumps(document)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("host_image")
def test_every_example_is_right_and_can_be_planned(console: Console, config: Path) -> None:
    """The fleets in configs/ pass --check on any machine that forgives missing limits."""
    said = console.supervise("--check", "--limits", "best-effort", config)
    assert said.code == 0, said
    assert console.supervise("--plan", "--limits", "best-effort", config).code == 0
