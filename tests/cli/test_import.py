"""`anchor import` and `anchor save`, as a person and as a script use them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_program import Anchor
from anchor_supervisor.images.lookup import short_id
from anchor_supervisor.images.store import Store
from archives import directory, member, tar
from image_archives import docker_old, oci, write_tar
from image_store import assert_only, name, tagged, unsynced

pytestmark = pytest.mark.root

CONTENT = tar(directory("bin"), member("bin/sh", b"#!"))


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """The store that the programs of the test see."""
    with unsynced():
        yield Store(data_dir)


@pytest.fixture
def root(data_dir: Path) -> Path:
    """A root file system, `root.tar`, where the programs run."""
    (data_dir / "root.tar").write_bytes(CONTENT)
    return data_dir / "root.tar"


def test_import_says_what_came_in(anchor: Anchor, store: Store, root: Path) -> None:
    """Name, id and size; how far it was goes to standard error."""
    done = anchor("import", "root.tar")
    image = store.find("root")
    assert image is not None
    assert (done.returncode, done.stdout) == (0, f"root:latest  {short_id(image)}  10K\n")
    assert "root: imported" in done.stderr
    assert anchor("import", "root.tar", "-q", "tools:1").stdout == f"{image.digest}\n"
    facts = json.loads(anchor("import", "root.tar", "--json", "tools:2").stdout)
    assert facts == [
        {
            "id": short_id(image),
            "digest": image.digest,
            "names": ["tools:2"],
            "created": facts[0]["created"],
            "platform": "linux/amd64",
            "size": 10240,
        }
    ]
    assert len(list(store.images())) == 3


def test_import_changes_a_configuration(anchor: Anchor, store: Store, root: Path) -> None:
    """Instructions of a Dockerfile, for a root only; a mistake is told before anything is done."""
    changes = ("-c", 'CMD ["sh"]', "-c", "ENV A=b C=d", "--platform", "linux/arm64")
    assert anchor("import", *changes, "root.tar").returncode == 0
    image = store.find("root")
    assert image is not None
    assert image.config["config"] == {"Cmd": ["sh"], "Env": ["A=b", "C=d"]}
    assert image.config["architecture"] == "arm64"
    wrong = anchor("import", "-c", "RUN x", "root.tar", "x")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "`RUN x` is not a change" in wrong.stderr
    assert store.find("x") is None


def test_import_from_a_pipe(anchor: Anchor, store: Store, data_dir: Path) -> None:
    """Of several images each is told; an archive that ends early changes nothing."""
    path = write_tar(data_dir / "x.tar", docker_old({"a:1": [1], "b:2": [1, 2]}))
    done = anchor.shell("cat x.tar | {anchor} import -q -")
    assert done.stdout.split() == [line.digest for line in store.images()]
    assert [line.name for line in store.images()] == [
        "docker.io/library/a:1",
        "docker.io/library/b:2",
    ]
    path.write_bytes(path.read_bytes()[:9000])
    before = list(store.images())
    done = anchor.shell("cat x.tar | {anchor} import -")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: `-`: the archive is malformed")
    assert list(store.images()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.tar",), "error: `nothing.tar`: there is nothing of this name\nhint: a tar"),
        (("root.tar", "A B"), "error: `A B` is not an image's name"),
        (("root.tar", "--platform", "x"), "error: `x` is not a platform"),
        (("/dev/null",), "error: `/dev/null`: it is neither a file, a directory nor a pipe"),
    ],
)
def test_import_of_what_is_wrong(
    anchor: Anchor, root: Path, arguments: tuple[str, ...], message: str
) -> None:
    """It is told in a sentence."""
    done = anchor("import", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(message)


def test_the_terminal_is_no_archive(anchor: Anchor, store: Store) -> None:
    """Neither is one read from a terminal nor written to it."""
    tagged(store, "a:1", 1)
    ours, theirs = os.openpty()
    try:
        told = []
        for arguments in (("import", "-"), ("save", "a:1")):
            done = subprocess.run(
                anchor.command(*arguments),
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=dict(anchor.environment),
            )
            assert done.returncode == 3
            told.append(done.stderr.splitlines()[0])
    finally:
        os.close(ours)
        os.close(theirs)
    assert told == [
        "error: there is no archive on the terminal",
        "error: an archive is not for a terminal",
    ]


def test_save_and_import_elsewhere(
    anchor: Anchor, store: Store, data_dir: Path, tmp_path: Path
) -> None:
    """To a file or a pipe, by name or id, it is the same archive, and the same image there."""
    image = tagged(store, "a:1", 1, 2)
    store.tag(name("b:1"), image.digest)
    done = anchor("save", "-q", "a:1", "b:1", "-o", "x.tar")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert anchor.shell("{anchor} save -q a:1 b:1 | cmp - x.tar").returncode == 0
    (facts,) = json.loads(anchor("save", "-q", "--json", "a:1", "-o", "y.tar").stdout)
    assert facts["names"] == ["a:1"]
    elsewhere = {"ANCHOR_DATA_DIR": str(tmp_path)}
    done = anchor("import", str(data_dir / "x.tar"), **elsewhere)
    assert done.stdout.splitlines() == [
        f"{each}  {short_id(image)}  20K" for each in ("a:1", "b:1")
    ]
    assert_only(Store(tmp_path), image)


def test_save_without_room(anchor: Anchor, store: Store, data_dir: Path) -> None:
    """A full disk, a missing directory and a reader that has gone are told or kept quiet."""
    tagged(store, "a:1", 1)
    full = anchor.shell("{anchor} save -q a:1 > /dev/full")
    assert full.returncode != 0
    assert full.stderr == "error: cannot write to standard output: No space left on device\n"
    missing = anchor("save", "a:1", "-o", "none/x.tar")
    assert missing.returncode == 3
    assert "write `none/x.tar`: No such file or directory" in missing.stderr
    gone = anchor.shell("{anchor} save -q a:1 | true; echo ${{PIPESTATUS[0]}}")
    assert (gone.stdout.strip() in {"0", "141"}, gone.stderr) == (True, "")
    assert "near" not in anchor("save", "a:2", "-o", "x.tar").stdout
    assert not (data_dir / "x.tar").exists()


def test_import_killed_at_any_instant(anchor: Anchor, store: Store, data_dir: Path) -> None:
    """The program itself, killed with SIGKILL: the next one works, and a prune takes the rest."""
    write_tar(data_dir / "x.tar", oci("a:1", 1, 2, 3))
    begun = time.monotonic()
    assert anchor("import", "-q", "x.tar").returncode == 0
    whole = time.monotonic() - begun
    image = store.find("a:1")
    assert image is not None
    chance = random.Random(7)
    for _ in range(5):
        store.untag(name("a:1"))
        store.prune()
        assert_only(store)
        with subprocess.Popen(
            anchor.command("import", "-q", str(data_dir / "x.tar")),
            stdout=subprocess.DEVNULL,
            env=dict(anchor.environment),
        ) as process:
            try:
                process.wait(timeout=whole * chance.uniform(0.4, 1.1))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        done = anchor("import", "-q", "x.tar")
        assert (done.returncode, done.stdout) == (0, f"{image.digest}\n")
        store.prune()
        assert_only(store, image)
