"""The example fleets of `configs/`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.fleet.check import problems
from anchor_supervisor.fleet.model import Condition, ImageKind, Kind, LimitsMode, RestartWhen
from anchor_supervisor.fleet.parse import load, load_files

CONFIGS: Final = Path(__file__).parents[2] / "configs"
NOTHING: Final[dict[str, str]] = {}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_fleet(path: Path) -> None:
    """It reads without a problem, needs no variable, and is called as its file is."""
    fleet = load(path, NOTHING)
    assert fleet.name == path.stem
    assert problems(fleet) == []
    assert {one.image.kind for one in fleet.containers.values()} == {ImageKind.HOST}


def test_examples_can_run_side_by_side() -> None:
    """No two publish the same port, but the shortest and the demo, which are both `web`."""
    published: dict[int, str] = {}
    for path in sorted(CONFIGS.glob("*.toml")):
        for one in load(path, NOTHING).containers.values():
            for port in one.ports:
                other = published.setdefault(port.host_port, path.stem)
                assert {other, path.stem} in ({path.stem}, {"demo", "ten-lines"})


def test_the_demo_shows_what_a_supervisor_is_for() -> None:
    """A job that comes first, a web server with a probe, a worker that backs off."""
    fleet = load(CONFIGS / "demo.toml", NOTHING)
    setup, web, worker = (fleet.containers[name] for name in ("setup", "web", "worker"))
    assert fleet.limits is LimitsMode.BEST_EFFORT
    assert setup.kind is Kind.JOB
    assert web.depends_on == {"setup": Condition.COMPLETED}
    assert (web.ports[0].host_port, web.ports[0].container_port) == (8080, 80)
    assert web.health is not None
    assert worker.restart.when is RestartWhen.ON_FAILURE
    assert worker.restart.max is None


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "variants").glob("*.toml")), ids=lambda p: p.stem
)
def test_every_part_of_an_example_is_used(path: Path) -> None:
    """It is included, extended, or an override."""
    assert f"variants/{path.name}" in (CONFIGS / "variants.toml").read_text()


def test_the_variants_show_every_way_to_vary() -> None:
    """A file that is included, one that is extended, one that overrides, and profiles."""
    base, local = CONFIGS / "variants.toml", CONFIGS / "variants" / "local.toml"
    fleet = load(base, NOTHING)
    assert list(fleet.containers) == ["web", "clock"]
    assert fleet.containers["web"].environment == {"SERVER": "python", "LEVEL": "warning"}
    fleet = load_files([base, local], NOTHING, ["*"])
    web, admin = fleet.containers["web"], fleet.containers["admin"]
    assert (fleet.name, fleet.limits) == ("variants", LimitsMode.BEST_EFFORT)
    assert list(fleet.containers) == ["web", "admin", "load", "clock"]
    assert web.environment == {"SERVER": "python", "LEVEL": "debug"}
    assert web.volumes[0].source == str(local.parent)
    assert web.ports[0].host_port != admin.ports[0].host_port
    assert admin.command is not None
    assert admin.command[-1] == "/usr/share/doc"


def test_the_shortest_example_has_ten_lines() -> None:
    """The README prints it whole."""
    lines = (CONFIGS / "ten-lines.toml").read_text().splitlines()
    assert len(lines) == 10
