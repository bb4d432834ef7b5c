"""`--plan`: every example can be planned, and what is said is what a real start does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from anchor_supervisor.errors import FleetError, UnfitHostError
from anchor_supervisor.fleet.model import Fleet, LimitsMode, instances
from anchor_supervisor.fleet.parse import load
from anchor_supervisor.kernel.spawn import Child, Prepared, spawn
from anchor_supervisor.observability import places
from anchor_supervisor.runtime import bringup, explain
from anchor_supervisor.runtime.limits import fleet_cgroup
from real_fleet import Workshop, sh

pytestmark = pytest.mark.root

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.fixture(autouse=True)
def same_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process stays in its mount namespace."""
    monkeypatch.setattr(explain, "private_mount_namespace", lambda: None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_can_be_planned(path: Path, workshop: Workshop) -> None:
    """Each instance has its steps, the last of which executes its command; nothing is made."""
    # What a kernel can enforce is another test's: here every kernel plans every example.
    fleet = evolve(load(path, os.environ), limits=LimitsMode.BEST_EFFORT)
    planned = explain.explain(fleet)
    assert [one.name for one in planned.instances] == [str(one) for one in instances(fleet)]
    for one in planned.instances:
        assert one.steps[-1].startswith("execute `")
        assert all(line and not line.endswith(".") for line in (*one.steps, *one.prepared))
        container = fleet.containers[one.name.rpartition(".")[0]]
        assert len(one.waits_for) == len(container.depends_on)
    assert not fleet_cgroup(places.fleet_id(fleet.name)).exists()
    assert list(workshop.run_dir.iterdir()) == []


def fleets(workshop: Workshop) -> Iterator[Fleet]:
    """Containers that differ in everything that makes steps."""
    yield workshop.fleet(name="plain")
    yield workshop.fleet('user_namespace = "host"', 'networks = "host"', name="host")
    yield workshop.fleet(
        *("init = false", 'user = "web"', "read_only = true", 'working_dir = "/srv"'),
        'volumes = ["data:/data", "tmpfs:/scratch:size=1M", "/etc:/conf:ro"]',
        *(
            "ulimits = { nofile = [100, 200] }",
            'capabilities = { drop = ["ALL"] }',
            'hostname = "h"',
        ),
        *('sysctls = { "net.ipv4.ip_unprivileged_port_start" = "0" }', "[volumes.data]"),
        name="much",
    )
    yield workshop.fleet(sh("true"), 'networks = ["default"]', "replicas = 2", name="networked")


@pytest.mark.parametrize("name", ["plain", "host", "much", "networked"])
async def test_the_plan_is_what_a_start_does(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The very words of the real steps, in their order; only descriptors are missing."""
    fleet = next(one for one in fleets(workshop) if one.name == name)
    planned = explain.explain(fleet)
    real: list[tuple[str, ...]] = []

    def spied(prepared: Prepared, **options: Any) -> Child:
        real.append(tuple(step.describe() for step in prepared.steps))
        return spawn(prepared, **options)

    monkeypatch.setattr(bringup, "spawn", spied)
    async with workshop.running(fleet) as running:
        for instance in instances(fleet):
            run = await running.start(instance)
            running.machine.kill(instance)
            await run.wait()
    assert real == [one.steps for one in planned.instances]


def test_what_is_wrong_is_refused_as_a_start_would(workshop: Workshop) -> None:
    """A plan of a fleet that cannot start is no plan."""
    with pytest.raises(FleetError, match="`/nowhere` was not found"):
        explain.explain(workshop.fleet('command = ["/nowhere"]'))


def test_the_limits_are_said_with_their_files(workshop: Workshop) -> None:
    """So that a person can look whether they are in force."""
    fleet = workshop.file(
        *("[fleet]", 'limits = "best-effort"', "[containers.web]", 'image = "ROOTFS"'),
        *('command = ["true"]', 'limits = { memory = "64M" }'),
    )
    [web] = explain.explain(fleet).instances
    assert any(
        re.search(r"limit memory: write `67108864` to `memory.max`", x) for x in web.prepared
    )


def test_planning_moves_to_a_mount_namespace_of_its_own(workshop: Workshop) -> None:
    """What is mounted to look into an image never shows in the machine's own table."""
    workshop.fleet()
    script = (
        "import os, sys; from pathlib import Path;"
        "from anchor_supervisor.fleet.parse import load;"
        "from anchor_supervisor.runtime.explain import explain;"
        "before = os.readlink('/proc/self/ns/mnt'); explain(load(Path(sys.argv[1]), {}));"
        "print(before != os.readlink('/proc/self/ns/mnt'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, workshop.run_dir.parent / "shop.toml"],
        check=True, capture_output=True, text=True, timeout=60, cwd=CONFIGS[0].parents[1],
    )  # fmt: skip
    assert said.stdout == "True\n"


def test_what_is_not_here_yet_cannot_be_planned(workshop: Workshop) -> None:
    """Told at its line, with what brings it; a plan brings nothing."""
    with pytest.raises(UnfitHostError) as caught:
        explain.explain(workshop.fleet('image = "gone:1"'))
    [problem] = caught.value.problems
    assert "image `gone:1` is not here yet" in problem.message
    assert problem.hint is not None
    assert "anchor pull gone:1" in problem.hint
    assert problem.line
