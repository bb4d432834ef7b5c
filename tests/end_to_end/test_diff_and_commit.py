"""`anchor diff` and `anchor commit`: what a container has done, told and kept."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.images.store import Store
from anchor_supervisor.kernel.cgroup import Cgroup
from console import ANCHOR, Console
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]

WORK = r"""
echo more >> /etc/passwd
rm /srv/index.html
mkdir -p /srv/new/inner
echo text > /srv/new/inner/file
chmod 4755 /srv/new/inner/file
ln -s ../x /srv/new/link
rm -r /root; mkdir /root; touch /root/fresh
chmod 700 /tmp
rm -r /var; echo file > /var
touch "/srv/new/$(printf 'o\nd')"
touch -r /bin/busybox /bin
echo kept > /data/volume
echo lost > /dev/shm/memory
"""
CHANGES = [
    "C /etc",
    "C /etc/passwd",
    "C /root",
    "A /root/fresh",
    "C /srv",
    "D /srv/index.html",
    "A /srv/new",
    "A /srv/new/inner",
    "A /srv/new/inner/file",
    "A /srv/new/link",
    r"A /srv/new/o\nd",
    "C /tmp",
    "C /var",
]


@pytest.fixture
def shop(console: Console, rootfs: Path) -> Iterator[Path]:
    """The same container over an overlay and over a copy of a directory."""
    image = console.directory.parent / "image"
    subprocess.run(["cp", "-a", rootfs, image], check=True)
    (image / "bin/ln").symlink_to("busybox")
    (image / "bin/chmod").symlink_to("busybox")
    common = f"""
image = "{image}"
networks = "none"
command = ["sh", "-c", "sleep 1000"]
environment = {{ TOKEN = "t0ken" }}
working_dir = "/srv"
stop = {{ grace = "0s", signal = "INT" }}
volumes = ["data:/data", "tmpfs:/mnt/scratch"]
"""
    fleet = console.write(
        "shop.toml",
        f"""
[containers.web]{common}
[containers.copy]{common}root = "copy"
[volumes.data]
""",
    )
    console.up(fleet)
    yield fleet
    console.anchor("down", "-f", fleet, "--volumes")


def work(console: Console, *names: str) -> None:
    """Let containers do what `CHANGES` tells of."""
    for name in names:
        said = console.anchor("exec", name, "sh", "-c", WORK)
        assert said.code == 0, said


def diff(console: Console, name: str) -> list[str]:
    """The lines of a diff."""
    said = console.anchor("diff", name)
    assert said.code == 0, said
    return said.out.splitlines()


def test_diff_lists_exactly_what_was_done(console: Console, shop: Path) -> None:
    """Nothing before, all of it after, running and stopped, whatever the root is made of."""
    for name in ("web", "copy"):
        assert diff(console, name) == []
        work(console, name)
        assert diff(console, name) == CHANGES
        assert console.anchor("stop", name).code == 0
        assert diff(console, name) == CHANGES
    rows = console.anchor("diff", "web", "--json").json()
    assert {"kind": "A", "path": "/srv/new/o\nd"} in rows
    assert [f"{row['kind']} {row['path']}" for row in rows if "\n" not in row["path"]] == [
        line for line in CHANGES if "\\" not in line
    ]


def digest_of(console: Console, *words: str) -> str:
    """Commit; the digest that is printed."""
    said = console.anchor("commit", *words)
    assert said.code == 0, said
    assert "`TOKEN`" in said.err
    return said.out.strip()


def test_a_committed_container_can_be_run(console: Console, shop: Path) -> None:
    """What it had changed is there, what it had removed is not, its volumes stay its own."""
    work(console, "web", "copy")
    change = 'CMD ["sh", "-c", "cat /etc/passwd /srv/new/inner/file /var; ls -a /root /srv /data"]'
    digest_of(console, "-m", "a try", "-a", "Ann", "-c", change, "web", "tried")
    assert console.anchor("stop", "copy").code == 0
    digest_of(console, "-c", change, "copy", "tried:copy")
    for image in ("tried", "tried:copy"):
        fleet = console.write(
            "again.toml",
            f'[containers.again]\nimage = "{image}"\nkind = "job"\nnetworks = "none"\n',
        )
        said = console.supervise(fleet)
        assert said.code == 0, said
        for words in ("more", "text", "file", "fresh", "new"):
            assert words in said.out, said
        assert "index.html" not in said.out
        assert "volume" not in said.out
    facts = console.anchor("inspect", "tried").json()
    assert facts["author"] == "Ann"
    assert facts["config"]["WorkingDir"] == "/srv"
    assert facts["config"]["StopSignal"] == "SIGINT"
    assert facts["history"][-1]["comment"] == "a try"
    assert len(facts["history"]) == len(facts["layers"]) == 2


def test_a_commit_of_a_commit_shares_its_layers(console: Console, shop: Path) -> None:
    """Owners, modes and links are in the store as the container saw them; nothing is twice."""
    work(console, "web")
    first = digest_of(console, "web", "one")
    second = digest_of(console, "web", "two")
    store = Store(console.data_dir)
    layers = [store.image(digest).layers for digest in (first, second)]
    assert [layer.diff_id for layer in layers[0]] == [layer.diff_id for layer in layers[1]]
    top = store.layer_root(layers[0][-1].diff_id)
    status = (top / "srv/new/inner/file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o4755)
    assert os.readlink(top / "srv/new/link") == "../x"
    assert stat.S_ISCHR((top / "srv/index.html").stat().st_mode)
    assert not (top / "data/volume").exists()
    fleet = console.write(
        "next.toml",
        '[containers.next]\nimage = "one"\ncommand = "sleep 1000"\nnetworks = "none"\n'
        'stop = { grace = "0s" }\n',
    )
    console.up(fleet)
    try:
        assert console.anchor("-p", "next", "exec", "next", "rm", "/srv/new/link").code == 0
        assert diff_of(console, fleet) == ["C /srv", "C /srv/new", "D /srv/new/link"]
        third = console.anchor("-p", "next", "commit", "next", "three").out.strip()
    finally:
        console.down(fleet)
    assert store.image(third).layers[:-1] == layers[0]
    assert len(store.image(third).config["history"]) == 3


def diff_of(console: Console, fleet: Path) -> list[str]:
    """The diff of the one container of that fleet."""
    return console.anchor("diff", "-f", fleet, "next").out.splitlines()


def test_a_killed_commit_leaves_nothing_frozen(console: Console, shop: Path) -> None:
    """Whoever freezes is the supervisor, for as long as it is asked to; the store is as before."""
    script = "dd if=/dev/urandom of=/srv/large bs=1M count=64 2>/dev/null"
    assert console.anchor("exec", "web", "sh", "-c", script).code == 0
    group = Cgroup(console.cgroup_of(shop, "web"))
    with subprocess.Popen(
        [*ANCHOR, "-p", "shop", "commit", "web", "never"],
        env=console.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as committing:
        eventually(group.frozen, what="the container is held still")
        committing.send_signal(signal.SIGKILL)
    eventually(lambda: not group.frozen(), what="it goes on")
    assert console.anchor("exec", "web", "true").code == 0
    assert "never" not in json.dumps(console.anchor("images", "--json").json())
    assert console.anchor("prune", "--force").code == 0
    assert os.listdir(console.data_dir / "store/ingest") == []


def test_what_cannot_be_an_image_is_refused(console: Console, shop: Path, host_image: str) -> None:
    """Before anything is made: the machine's root, a wrong name, a wrong change."""
    for words in (
        ["nobody", "image"],
        ["web", "UPPER"],
        ["web", "image@sha256:" + "0" * 64],
        ["-c", "RUN ls", "web", "image"],
    ):
        said = console.anchor("commit", *words)
        assert said.code != 0
        assert said.out == ""
        assert "Traceback" not in said.err
    host = console.write(
        "host.toml",
        f'[containers.box]\nimage = "{host_image}"\ncommand = "sleep 1000"\nnetworks = "none"\n'
        'stop = { grace = "0s" }\n',
    )
    console.up(host)
    try:
        assert console.anchor("-p", "host", "exec", "box", "touch", "/etc/anchored").code == 0
        assert console.anchor("-p", "host", "diff", "box").out == "C /etc\nA /etc/anchored\n"
        said = console.anchor("-p", "host", "commit", "box", "image")
        assert (said.code, "the machine's own root" in said.err) == (3, True)
    finally:
        console.down(host)


def test_what_has_moved_is_not_committed(console: Console, shop: Path) -> None:
    """A held container can be killed, and its next run writes: half of each would be no image."""
    script = "dd if=/dev/urandom of=/srv/large bs=1M count=64 2>/dev/null"
    assert console.anchor("exec", "web", "sh", "-c", script).code == 0
    group = Cgroup(console.cgroup_of(shop, "web"))
    committing = console.start_anchor("-p", "shop", "commit", "web", "never")
    eventually(group.frozen, what="the container is held still")
    assert console.anchor("kill", "web").code == 0
    assert committing.ended() == 1
    assert "`web.1` did not stay still" in committing.text()
    assert "never" not in json.dumps(console.anchor("images", "--json").json())


def test_a_deep_tree_needs_no_more_than_there_is(console: Console, shop: Path) -> None:
    """Nothing that a container makes ends in our own mistake: here, few descriptors."""
    script = "i=0; while [ $i -lt 150 ]; do mkdir d; cd d; i=$((i+1)); done"
    assert console.anchor("exec", "web", "sh", "-c", f"cd /srv; {script}").code == 0
    few = console.anchor("diff", "web", wrapped=("prlimit", "--nofile=200:200"))
    assert few.code == 3
    assert "compare `web.1`: Too many open files" in few.err
    enough = console.anchor("diff", "web", wrapped=("prlimit", "--nofile=200:4096"))
    assert (enough.code, enough.out.count("/d\n")) == (0, 150)
