"""`anchor cp` against a container that moves its files while they are copied.

The attacks are those of CVE-2018-15664 and CVE-2026-42306 (a path that becomes a link to the
machine between look and use), CVE-2019-14271 and CVE-2026-41567 (code of the container run by who
copies), and a FIFO in a file's place.
"""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.cli import main
from console import ANCHOR, Console

pytestmark = [pytest.mark.root, pytest.mark.native]

COPIES = 120


@pytest.fixture
def outside(console: Console) -> Path:
    """A directory of the machine, by a path that also is one in the container."""
    place = console.directory / "outside"
    place.mkdir()
    (place / "file").write_text("the machine's")
    return place


@pytest.fixture
def hostile(console: Console, outside: Path) -> Iterator[Path]:
    """A container, over the machine's root, that exchanges a directory and a link for ever.

    The link leads to the machine's directory, by its whole path and by climbing up.
    """
    fleet = console.write(
        "hostile.toml",
        f"""
[containers.evil]
image = "{console.directory.parent / "image"}"
networks = "none"
command = ["sh", "-c", '''
cd /hostile
ln -s {outside} link
ln -s ../../../../../../../../{outside} climb
while :; do
    mv -T flip aside && mv -T link flip && mv -T flip link && mv -T aside flip
    mv -T flip aside && mv -T climb flip && mv -T flip climb && mv -T aside flip
    mv -T flip/file was; mkfifo flip/file; rm flip/file
    ln -s {outside}/file flip/file; mv -T was flip/file
done
''']
stop = {{ grace = "0s" }}
""",
    )
    console.up(fleet)
    yield fleet
    console.down(fleet)


@pytest.fixture(autouse=True)
def image(console: Console, rootfs: Path) -> Path:
    """The usual image, with a place to fight in and decoys of what a careless copier would run."""
    place = console.directory.parent / "image"
    subprocess.run(["cp", "-a", rootfs, place], check=True)
    (place / "bin/mv").symlink_to("busybox")
    (place / "bin/ln").symlink_to("busybox")
    (place / "bin/mkfifo").symlink_to("busybox")
    (place / "hostile/flip").mkdir(parents=True)
    (place / "hostile/flip/file").write_text("the container's")
    for decoy in ("usr/bin/unpigz", "bin/tar", "lib/x86_64-linux-gnu/libnss_files.so.2"):
        (place / decoy).parent.mkdir(parents=True, exist_ok=True)
        (place / decoy).write_text(f"#!/bin/sh\ntouch {console.directory}/owned\n")
        (place / decoy).chmod(0o755)
    return place


def copy(*words: str) -> int:
    """`anchor cp` in this very process: a hundred of them take no time to start."""
    return main.main(["-p", "hostile", "cp", *words])


@pytest.fixture
def here(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process a client of that console's fleets."""
    for key in ("ANCHOR_RUN_DIR", "ANCHOR_DATA_DIR"):
        monkeypatch.setenv(key, console.environment[key])
    mask, files = os.umask(0o022), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    os.umask(mask)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


def test_nothing_of_the_machine_is_read(console: Console, hostile: Path, here: None) -> None:
    """Whatever a name means at that moment, only the container's content ever comes out."""
    out = console.directory / "out"
    out.mkdir()
    codes = set()
    for number in range(COPIES):
        words = ("-L",) if number % 2 else ()
        codes.add(copy(*words, "evil:/hostile/flip/file", str(out / f"f{number}")))
        codes.add(copy(*words, "evil:/hostile/flip/", str(out / f"d{number}")))
    assert codes == {0, 3}, "the container was quiet, or never caught still"
    for path in out.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            assert path.read_text() == "the container's", path
    assert not (console.directory / "owned").exists()


def test_nothing_of_the_machine_is_written(
    console: Console,
    hostile: Path,
    outside: Path,
    here: None,
) -> None:
    """Wherever a copy lands, it is beneath the container's root."""
    tree = console.directory / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("written")
    (tree / "sub/file").write_text("written")
    archive = console.directory / "archive.tar"
    with tarfile.open(archive, "w") as made:
        made.add(tree, ".")
    codes = set()
    for number in range(COPIES):
        for source, target in (
            (tree / "file", "evil:/hostile/flip/file"),
            (tree, f"evil:/hostile/flip/new{number}"),
            (tree / ".", "evil:/hostile/flip/"),
        ):
            codes.add(copy(f"{source}", target))
    assert codes == {0, 3}, "the container was quiet, or never caught still"
    for _ in range(5):
        with archive.open("rb") as stream:
            subprocess.run(
                [*ANCHOR, "-p", "hostile", "cp", "-", "evil:/hostile/flip"],
                stdin=stream,
                env=console.environment,
                check=False,
                capture_output=True,
                timeout=60,
            )
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "the machine's"
    assert not (console.directory / "owned").exists()


def test_a_stopped_container_leads_nowhere_either(
    console: Console, hostile: Path, outside: Path
) -> None:
    """Links that it has left behind are resolved in its own root."""
    assert console.anchor("stop", "evil").code == 0
    for name in ("link", "climb"):
        said = console.anchor("cp", f"evil:/hostile/{name}/file", console.directory / "got")
        assert (said.code, "No such file" in said.err) == (3, True), said
        said = console.anchor("cp", "-L", f"evil:/hostile/{name}", console.directory / "got")
        assert said.code == 3, said
        said = console.anchor("cp", outside / "file", f"evil:/hostile/{name}/new")
        assert said.code == 3, said
    assert os.listdir(outside) == ["file"]
