"""What is wrong with a file or a machine: a clear error, the right exit code, nothing started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from console import Console, Said
from machine import MACHINE_FACT, limits_can_be_enforced

pytestmark = [pytest.mark.root, pytest.mark.native]

WRONG_FILE, UNFIT_MACHINE = 2, 3


def refused(console: Console, said: Said, code: int, *words: str) -> None:
    """Nothing was started (the fixture sees that nothing is left), and every word was said."""
    assert said.code == code, said
    assert said.out == ""
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err
    assert not list(console.data_dir.glob("logs/*/*/*.log"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[containers.web\n", ["bad.toml:1"], id="malformed"),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "true"\nimagee = "x"\n',
            ["bad.toml:4", "containers.web.imagee", "`image`"],
            id="unknown key",
        ),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "true"\nreplicas = "two"\n',
            ["bad.toml:4", "containers.web.replicas", "two"],
            id="wrong type",
        ),
        pytest.param(
            '[containers.web]\nimage = "./missing"\ncommand = "true"\n',
            ["bad.toml:2", "missing"],
            id="missing image",
        ),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "true"\nvolumes = ["./gone:/x"]\n',
            ["bad.toml:4", "gone"],
            id="missing volume source",
        ),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "nowhere"\n',
            ["bad.toml:3", "`nowhere`", "not found"],
            id="command not found",
        ),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "/etc/not-executable"\n',
            ["bad.toml:3", "/etc/not-executable", "not executable"],
            id="command not executable",
        ),
        pytest.param(
            '[containers.a]\nimage = "{rootfs}"\ncommand = "true"\n'
            'depends_on = {{ b = "started" }}\n'
            '[containers.b]\nimage = "{rootfs}"\ncommand = "true"\n'
            'depends_on = {{ a = "started" }}\n',
            ["bad.toml", "depends_on", "circle"],
            id="cycle",
        ),
        pytest.param(
            '[containers.web]\nimage = "{rootfs}"\ncommand = "true"\ndevices = ["/dev/fuse"]\n',
            ["bad.toml:4", "not supported yet"],
            id="not supported yet",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    console: Console, rootfs: Path, text: str, words: list[str]
) -> None:
    """File, line, key and value are named, by a start and by --check alike; exit code 2."""
    fleet = console.write("bad.toml", text.format(rootfs=rootfs))
    refused(console, console.supervise(fleet), WRONG_FILE, *words)
    refused(console, console.supervise("--check", fleet), WRONG_FILE, *words)


def test_every_problem_is_told_at_once(console: Console, rootfs: Path) -> None:
    """A file with three faults is told three, not one at a time."""
    text = f"""
[containers.web]
image = "{rootfs}"
command = "true"
colour = "red"
replicas = -1
depends_on = {{ nobody = "started" }}
"""
    refused(
        *(console, console.supervise("--check", console.write("bad.toml", text)), WRONG_FILE),
        *("colour", "replicas", "nobody"),
    )


def test_a_file_that_is_not_there(console: Console) -> None:
    """A missing fleet file is named; exit code 2."""
    refused(console, console.supervise("missing.toml"), WRONG_FILE, "missing.toml")


def fleet_file(console: Console, rootfs: Path, more: str = "") -> Path:
    """A fleet that would run, but for what the test does to the machine."""
    return console.write(
        "fine.toml", f'[containers.web]\nimage = "{rootfs}"\ncommand = "sleep 1000"\n{more}\n'
    )


def test_not_root(console: Console, rootfs: Path) -> None:
    """An ordinary user is told to use sudo; exit code 3."""
    fleet = fleet_file(console, rootfs)
    # a user namespace without a map: the uid reads as 65534, and files stay readable
    said = console.supervise(fleet, wrapped=["unshare", "--user"])
    refused(console, said, UNFIT_MACHINE, "root")


def test_no_cgroup2_mount(console: Console, rootfs: Path) -> None:
    """Without a cgroup2 file system the remedy is named; exit code 3."""
    hide = "awk '/ - cgroup2 / {print $5}' /proc/self/mountinfo | xargs -n1 umount -l; exec \"$@\""
    said = console.supervise(
        fleet_file(console, rootfs), wrapped=["unshare", "-m", "sh", "-c", hide, "sh"]
    )
    refused(console, said, UNFIT_MACHINE, "cgroup2")


def test_a_limit_that_cannot_be_enforced(console: Console, rootfs: Path) -> None:
    """Strict: refused, with key and remedy, exit code 3. Best-effort: warned about, and run."""
    if limits_can_be_enforced():
        pytest.skip(f"{MACHINE_FACT}this kernel enforces every limit")
    fleet = fleet_file(console, rootfs, 'kind = "job"\nlimits = { memory = "64M" }')
    fleet.write_text(fleet.read_text().replace("sleep 1000", "true"))
    words = ("fine.toml:5", "`memory`", "best-effort")
    refused(console, console.supervise(fleet), UNFIT_MACHINE, *words)
    said = console.supervise("--limits", "best-effort", fleet)
    assert said.code == 0, said
    assert "`memory`" in said.err


def test_a_published_port_that_is_taken(console: Console, rootfs: Path) -> None:
    """Another program listens there: the port is named, and nothing is started; exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fleet = fleet_file(console, rootfs, f'ports = ["{port}:80"]')
        refused(console, console.supervise(fleet), UNFIT_MACHINE, str(port))


def test_no_free_subnet(console: Console, rootfs: Path) -> None:
    """Where every default network is taken, that is said; exit code 3."""
    take = (
        "ip link set lo up; ip link add taken type bridge; ip link set taken up; "
        'ip address add 10.88.0.1/16 dev taken; exec "$@"'
    )
    said = console.supervise(
        fleet_file(console, rootfs), wrapped=["unshare", "-n", "sh", "-c", take, "sh"]
    )
    refused(console, said, UNFIT_MACHINE, "10.88.0.0/16")


def test_a_fleet_that_runs_already(console: Console, rootfs: Path) -> None:
    """The second supervisor names the first one's pid, and does it no harm; exit code 3."""
    fleet = fleet_file(console, rootfs)
    console.up(fleet)
    try:
        pid = console.rows(fleet)["web.1"]["pid"]
        said = console.supervise(fleet)
        assert said.code == UNFIT_MACHINE, said
        assert "`fine`" in said.err
        assert "pid" in said.err
        assert console.rows(fleet)["web.1"]["pid"] == pid
    finally:
        console.down(fleet)
