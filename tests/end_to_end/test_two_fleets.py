"""Two fleets on one machine: each has its own of everything, and neither disturbs the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import Console

pytestmark = [pytest.mark.root, pytest.mark.native]


def fleet_file(console: Console, rootfs: Path, name: str, more: str = "") -> Path:
    """A server that is named like the other fleet's."""
    return console.write(
        f"{name}.toml",
        f'[containers.web]\nimage = "{rootfs}"\ncommand = "httpd -f -p 80 -h /srv"\n{more}\n',
    )


def test_side_by_side(console: Console, rootfs: Path) -> None:
    """Same names inside, different addresses and ids; ending one leaves the other as it is."""
    one, two = (fleet_file(console, rootfs, name) for name in ("one", "two"))
    console.up(one)
    console.up(two)
    first, second = console.rows(one)["web.1"], console.rows(two)["web.1"]
    assert first["address"] != second["address"]
    maps = [Path(f"/proc/{row['pid']}/uid_map").read_text() for row in (first, second)]
    assert maps[0] != maps[1]
    ambiguous = console.anchor("ps")
    assert ambiguous.code != 0
    assert "one" in ambiguous.err
    assert "two" in ambiguous.err
    reach = ("exec", "web", "wget", "-q", "-T", "2", "-O", "-")
    assert console.anchor("-p", "one", *reach, f"http://{second['address']}/").code != 0
    console.down(one)
    assert console.rows(two)["web.1"] == second
    console.down(two)


def test_the_same_port_for_two_fleets_is_refused(console: Console, rootfs: Path) -> None:
    """The second fleet is told which port is taken; the first one serves on."""
    one, two = (
        fleet_file(console, rootfs, name, 'ports = ["18099:80"]') for name in ("one", "two")
    )
    console.up(one)
    said = console.supervise(two)
    assert said.code == 3, said
    assert "18099" in said.err
    assert console.rows(one)["web.1"]["state"] == "running"
    console.down(one)
