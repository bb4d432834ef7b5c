"""`anchor cp`: both ways, running and stopped, with volumes, owners, archives, docker's rules."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import ANCHOR, TIMEOUT, Console
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]

ODD = os.fsdecode(b"\xff\n odd")


@pytest.fixture
def shop(console: Console, rootfs: Path) -> Iterator[Path]:
    """Two containers, over an overlay and over a copy; the first has a volume of every kind."""
    (console.directory / "bound").mkdir()
    fleet = console.write(
        "shop.toml",
        f"""
[containers.web]
image = "{rootfs}"
networks = "none"
command = "sleep 1000"
stop = {{ grace = "0s" }}
volumes = ["data:/data", "./bound:/bound", "./bound:/ro:ro", "tmpfs:/scratch"]
[containers.copy]
image = "{rootfs}"
networks = "none"
root = "copy"
read_only = true
command = "sleep 1000"
stop = {{ grace = "0s" }}
[volumes.data]
""",
    )
    console.up(fleet)
    yield fleet
    console.anchor("down", "-f", fleet, "--volumes")


@pytest.fixture
def tree(console: Console) -> Path:
    """Something to copy, owned by several."""
    top = console.directory / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("content")
    (top / "file").chmod(0o4751)
    os.chown(top / "file", 1000, 1000)
    (top / "file").chmod(0o4751)
    (top / "sub" / ODD).write_text("odd")
    os.link(top / "file", top / "sub/again")
    (top / "link").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo")
    with (top / "sparse").open("wb") as sparse:
        sparse.truncate(64 << 20)
    os.utime(top / "file", ns=(0, 1_234_567_890_123_456_789))
    return top


def cp(console: Console, *words: str | Path) -> None:
    """`anchor cp`, which must succeed and say nothing."""
    said = console.anchor("cp", *words)
    assert (said.code, said.out, said.err) == (0, "", ""), said


def inside(console: Console, script: str, name: str = "web") -> str:
    """What a shell in the container says."""
    said = console.anchor("exec", name, "sh", "-c", script)
    assert said.code == 0, said
    return said.out


def stop(console: Console, *names: str) -> None:
    """Stop, and wait."""
    for name in names:
        assert console.anchor("stop", name).code == 0


def test_a_tree_in_and_out_again(console: Console, shop: Path, tree: Path) -> None:
    """Running and stopped: content, odd names, links, holes, times; owned by root on each side."""
    back = console.directory / "back"
    for target in ("/srv", "/data", "/bound", "/scratch"):
        cp(console, tree, f"web:{target}")
        listed = inside(console, f"cd {target}/tree; stat -c '%u %g %a %Y' file; readlink link")
        assert listed == "0 0 751 1234567890\n/etc/passwd\n"
        cp(console, f"web:{target}/tree", back)
        compare(tree, back)
        subprocess.run(["rm", "-r", back], check=True)
    stop(console, "web")
    for target in ("/srv", "/data", "/bound"):
        cp(console, f"web:{target}/tree", back)
        compare(tree, back)
        subprocess.run(["rm", "-r", back], check=True)
        cp(console, tree / "file", f"web:{target}/stopped")
    assert console.anchor("start", "web").code == 0
    assert inside(console, "cat /srv/stopped /data/stopped /bound/stopped") == "content" * 3
    assert inside(console, "stat -c '%u %a' /srv/stopped /data/stopped") == "0 751\n" * 2


def compare(tree: Path, back: Path) -> None:
    """Everything arrived, and is ours."""
    assert sorted(map(os.fspath, map(back.joinpath, relative(tree)))) == sorted(
        map(os.fspath, back.rglob("*"))
    )
    for name in relative(tree):
        before, after = (tree / name).lstat(), (back / name).lstat()
        assert (after.st_uid, after.st_gid) == (0, 0)
        assert (before.st_mode & ~0o6000, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
        if (tree / name).is_file():
            assert (back / name).read_bytes() == (tree / name).read_bytes()
    assert (back / "file").samefile(back / "sub/again")
    assert (back / "sparse").stat().st_blocks < 100


def relative(tree: Path) -> list[str]:
    """Every name beneath."""
    return [str(path.relative_to(tree)) for path in tree.rglob("*")]


def test_owners_are_kept_on_request(console: Console, shop: Path, tree: Path) -> None:
    """-a: the same numbers inside as here, and set-id bits; and back."""
    cp(console, "-a", tree, "web:/data")
    assert inside(console, "stat -c '%u %g %a' /data/tree/file") == "1000 1000 4751\n"
    cp(console, "-a", "web:/data/tree/file", console.directory / "file")
    status = (console.directory / "file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1000, 1000, 0o4751)
    os.chown(tree / "file", 70_000, 0)
    said = console.anchor("cp", "-a", tree / "file", "web:/data/high")
    assert (said.code, "no id 70000" in said.err) == (3, True)


def test_archives_on_pipes(console: Console, shop: Path, tree: Path) -> None:
    """`-` is a tar archive: what tar makes goes in, what comes out tar can read; mounts too."""
    archive = console.directory / "archive.tar.gz"
    subprocess.run(["tar", "czf", archive, "-C", tree.parent, "tree"], check=True)
    with archive.open("rb") as source:
        command = [*ANCHOR, "cp", "-", "web:/bound"]
        subprocess.run(command, stdin=source, env=console.environment, check=True, timeout=TIMEOUT)
    assert inside(console, "cat /bound/tree/file") == "content"
    out = subprocess.run(
        [*ANCHOR, "cp", "web:/", "-"],
        env=console.environment,
        check=True,
        timeout=TIMEOUT,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as unpacked:
        names = set(unpacked.getnames())
        assert {"etc/passwd", "bound/tree/file", "ro/tree/link", "proc", "dev"} <= names
        assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/"))]
        assert all(member.uid < 65536 for member in unpacked.getmembers())
    with Path("/dev/full").open("wb") as full:
        failed = subprocess.run(
            [*ANCHOR, "cp", "web:/", "-"],
            env=console.environment,
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
        )
    assert (failed.returncode, b"cannot write to standard output" in failed.stderr) == (1, True)


def test_the_whole_root_without_the_kernels_own(console: Console, shop: Path) -> None:
    """/proc, /sys and /dev stay empty, unless one of them is named."""
    cp(console, "web:/", console.directory / "whole")
    assert (console.directory / "whole/bin/busybox").is_file()
    assert os.listdir(console.directory / "whole/proc") == []
    assert os.listdir(console.directory / "whole/dev") == []
    said = console.anchor("cp", "web:/dev/null", console.directory / "null")
    assert (said.code, "a device is not copied" in said.err) == (3, True)
    assert not (console.directory / "null").exists()


def test_what_may_not_be_written_is_refused(console: Console, shop: Path, tree: Path) -> None:
    """Read-only volumes and roots, anchor's own files, what a stopped container cannot keep."""
    said = console.anchor("cp", tree / "file", "web:/etc/passwd")
    assert said.code == 0, said
    said = console.anchor("cp", tree / "file", "web:/etc/hosts")
    assert said.code == 3, said
    assert "localhost" in inside(console, "cat /etc/hosts")
    for words in ("web:/ro/x", "copy:/srv/x"):
        said = console.anchor("cp", tree / "file", words)
        assert (said.code, "Read-only" in said.err) == (3, True), (words, said)
    stop(console, "web", "copy")
    for words in ("web:/ro/x", "web:/scratch/x", "copy:/srv/x"):
        said = console.anchor("cp", tree / "file", words)
        assert (said.code, "Read-only" in said.err) == (3, True), (words, said)
    cp(console, "copy:/srv/index.html", console.directory / "index.html")
    assert os.listdir(console.directory / "bound") == []


def test_wrong_operands_are_explained(console: Console, shop: Path, tree: Path) -> None:
    """Exit code, words, nothing done."""
    for source, target, words in (
        ("nobody:/x", "x", "`nobody`"),
        ("web:/nowhere", "x", "`/nowhere`"),
        ("web:/proc/1/root/etc", "x", "`/proc/1/root/etc`"),
        ("x", "y", "NAME:/path"),
        ("web:/a", "web:/b", "NAME:/path"),
        (str(tree / "none"), "web:/", "none"),
        (str(tree), "web:/etc/passwd", "is a file"),
        (str(tree / "file"), "web:/none/", "does not exist"),
        ("web:/bin", str(tree / "file"), "is a file"),
    ):
        said = console.anchor("cp", source, target)
        assert said.code != 0
        assert words in said.err
        assert "Traceback" not in said.err
        assert not (console.directory / "x").exists()


def test_a_start_waits_for_the_copy(console: Console, shop: Path) -> None:
    """A stopped container's layer is one's at a time; a killed copy lets go at once."""
    stop(console, "web")
    with subprocess.Popen(
        [*ANCHOR, "cp", "-", "web:/srv"], stdin=subprocess.PIPE, env=console.environment
    ) as copying:
        assert copying.stdin is not None
        copying.stdin.write(archive_of("begun"))
        copying.stdin.flush()
        writable = Path(console.anchor("inspect", "web").json()["host"]["writable_layer"])
        begun = writable / "upper/srv/begun"
        eventually(begun.exists, what="the copy has begun")
        starting = console.start_anchor("start", "web")
        state = console.row_when(
            shop, "web.1", lambda row: row["state"] == "starting", what="it is being started"
        )
        assert state["pid"] is None
        copying.send_signal(signal.SIGKILL)
    assert starting.ended() == 0
    assert inside(console, "cat /srv/begun") == "begun"


def archive_of(name: str) -> bytes:
    """The beginning of an archive: one whole file, and no end; enough for a reader to take it."""
    info = tarfile.TarInfo(name)
    info.size = len(name)
    more = tarfile.TarInfo("more")
    more.size = 1 << 30
    head = info.tobuf() + name.encode().ljust(512, b"\0") + more.tobuf()
    return head + bytes(1 << 20)


def test_a_copy_never_takes_a_new_volumes_content(console: Console, rootfs: Path) -> None:
    """Where no start has come as far as its volumes, none is made: the image's would be lost."""
    fleet = console.write(
        "new.toml",
        f"""
[containers.web]
image = "{rootfs}"
networks = "none"
command = "sleep 1000"
user = "nobody-knows"
volumes = ["fresh:/srv"]
[volumes.fresh]
""",
    )
    assert console.supervise("--detach", fleet).code != 0
    try:
        (console.directory / "file").write_text("x")
        said = console.anchor("-p", "new", "cp", "file", "web:/srv/file")
        assert said.code == 3
        assert "the volume on `/srv` cannot be reached: no container has used it yet" in said.err
        assert console.anchor("volume", "ls", "--json", "-f", fleet).json() == []
    finally:
        console.down(fleet)
