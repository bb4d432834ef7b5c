"""Published ports, names and addresses, looked at with curl, ip and nft."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import Console

pytestmark = pytest.mark.root

PORT = 18090


def curl(address: str) -> str:
    """The page, or what curl says of why there is none."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "5", address], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def shop(console: Console, rootfs: Path) -> Iterator[Path]:
    """A server with a published port and an alias, and two clients, one without a network."""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{rootfs}"
command = "httpd -f -p 80 -h /srv"
ports = ["{PORT}:80"]
networks = {{ default = {{ aliases = ["front"] }} }}
health = {{ tcp = 80 }}
[containers.client]
image = "{rootfs}"
command = "sleep 1000"
depends_on = {{ web = "healthy" }}
extra_hosts = {{ registry = "10.0.0.5" }}
""",
    )
    console.up(fleet)
    yield fleet
    console.down(fleet)


def test_a_published_port_leads_inside_and_a_restart_keeps_it(console: Console, shop: Path) -> None:
    """Curl gets the page on loopback, and again once the server was killed and is back."""
    assert curl(f"http://127.0.0.1:{PORT}/") == "it runs\n"
    assert console.anchor("kill", "-s", "KILL", "web").code == 0
    console.row_when(
        shop,
        "web.1",
        lambda row: row["restarts"] == 1 and row["health"] == "healthy",
        what="the server is back",
    )
    assert curl(f"http://127.0.0.1:{PORT}/") == "it runs\n"
    console.anchor("stop", "web")
    assert "onnect" in curl(f"http://127.0.0.1:{PORT}/")


@pytest.mark.native
def test_a_published_port_is_for_this_machine_alone(console: Console, shop: Path) -> None:
    """On the bridge's own address, or any other of this machine, the port does not answer."""
    own = [
        address["local"]
        for link in json.loads(subprocess.check_output(["ip", "-j", "-4", "address"]))
        for address in link["addr_info"]
        if not address["local"].startswith("127.")
    ]
    assert own
    for address in own:
        assert "it runs" not in curl(f"http://{address}:{PORT}/")


def test_containers_find_each_other_by_name(console: Console, shop: Path) -> None:
    """Names and aliases lead to the address that ps shows; extra hosts are there."""
    address = console.rows(shop)["web.1"]["address"]
    look = "wget -q -O - http://$0/; ping -c 1 -W 5 $0"
    for name in ("web", "front"):
        said = console.anchor("exec", "client", "sh", "-c", look, name)
        assert said.out.startswith("it runs\n"), said
        assert f"({address})" in said.out
    said = console.anchor("exec", "client", "sh", "-c", "hostname && cat /etc/hosts")
    assert said.out.startswith("client\n")
    assert "10.0.0.5" in said.out


@pytest.mark.native
def test_the_host_sees_one_bridge_a_link_a_container_and_one_table(
    console: Console, shop: Path
) -> None:
    """Names carry the fleet's short id and fit; inside, there are eth0 and lo alone."""
    links = json.loads(subprocess.check_output(["ip", "-j", "-d", "link"]))
    tables = json.loads(subprocess.check_output(["nft", "-j", "list", "tables"]))
    short = console.cgroup_of(shop, "web.1").parent.name.removeprefix("anchor-")
    names = [entry["table"]["name"] for entry in tables["nftables"] if "table" in entry]
    assert len([name for name in names if short in name]) == 1
    ours = [link for link in links if short in link["ifname"]]
    kinds = [link["linkinfo"]["info_kind"] for link in ours]
    assert sorted(kinds) == ["bridge", "veth", "veth"]
    inside = console.anchor("exec", "client", "ls", "/sys/class/net").out.split()
    assert inside == ["eth0", "lo"]


@pytest.mark.native
def test_no_network_and_the_machines_own(console: Console, rootfs: Path) -> None:
    """`none` has loopback alone, `host` has this machine's links."""
    for mode, expected in (("none", {"lo"}), ("host", set(Path("/sys/class/net").iterdir()))):
        said = console.anchor("run", "-i", rootfs, "--net", mode, "ip", "-o", "link")
        seen = {line.split(":")[1].strip().split("@")[0] for line in said.out.splitlines()}
        assert said.code == 0, said
        assert seen >= {Path(link).name for link in expected}
        assert mode == "host" or seen == {"lo"}
