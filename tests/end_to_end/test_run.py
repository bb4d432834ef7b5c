"""`anchor run`: one container, no file; its exit code and its output are the command's own."""

from __future__ import annotations

import io
import signal
import tarfile
from pathlib import Path

import pytest

from console import Console

pytestmark = pytest.mark.root


def test_the_machine_welcomes(console: Console, host_image: str) -> None:
    """Without an image the command runs over the machine's own root; its output is all there is."""
    said = console.anchor("run", "-i", host_image, "/bin/echo", "Welcome to Anchor")
    assert (said.code, said.out) == (0, "Welcome to Anchor\n")


@pytest.mark.native
def test_a_directory_and_an_archive_are_images(
    console: Console, rootfs: Path, rootfs_tar: Path
) -> None:
    """The same root, given as a directory or as a tar archive, says the same."""
    for image in (rootfs, rootfs_tar):
        said = console.anchor("run", "-i", image, "/bin/echo", "Hello World")
        assert (said.code, said.out) == (0, "Hello World\n"), said


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(["true"], 0, id="success"),
        pytest.param(["sh", "-c", "exit 7"], 7, id="its own code"),
        pytest.param(["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL, id="a signal"),
        pytest.param(["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, id="another signal"),
        pytest.param(["/etc/not-executable"], 126, id="not executable"),
        pytest.param(["no-such-command"], 127, id="not found"),
        pytest.param(["/no/such/path"], 127, id="path not found"),
    ],
)
@pytest.mark.native
def test_the_exit_code_is_the_commands(
    console: Console, rootfs: Path, command: list[str], code: int
) -> None:
    """Its own, 128+N for signal N, 126 not executable, 127 not found."""
    said = console.anchor("run", "-i", rootfs, *command)
    assert said.code == code, said
    assert said.out == ""
    assert bool(said.err) == (code in {126, 127})


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-i", "/no/such/image", "true"], id="image missing"),
        pytest.param(["-i", "{rootfs}", "--memory", "lots", "true"], id="wrong size"),
        pytest.param(["-i", "{rootfs}", "-v", "/no/such/source:/x", "true"], id="volume missing"),
        pytest.param(["-i", "{rootfs}"], id="no command"),
    ],
)
@pytest.mark.native
def test_our_own_errors_are_125(console: Console, rootfs: Path, words: list[str]) -> None:
    """What is ours to say goes to standard error, with exit code 125."""
    said = console.anchor("run", *(word.format(rootfs=rootfs) for word in words))
    assert said.code == 125, said
    assert said.out == ""
    assert said.err.startswith("error: ")


@pytest.mark.native
def test_input_variables_directory_user_and_volume_reach_the_command(
    console: Console, rootfs: Path
) -> None:
    """Standard input is the command's; -e, -w, -u and -v do what they say."""
    (console.directory / "shared").mkdir()
    (console.directory / "shared/note").write_text("from outside\n")
    script = (
        "cat; echo $COLOUR; pwd; id -u; cat /mnt/note; touch /mnt/x 2>/dev/null || echo read-only"
    )
    said = console.anchor(
        *("run", "-i", rootfs, "-e", "COLOUR=red", "-w", "/srv", "-u", "web"),
        *("-v", f"{console.directory}/shared:/mnt:ro", "sh", "-c", script),
        text="from input\n",
    )
    assert said.code == 0, said
    assert said.out.splitlines() == [
        *("from input", "red", "/srv", "1000", "from outside", "read-only")
    ]


@pytest.mark.native
def test_what_it_changes_is_gone(console: Console, rootfs: Path) -> None:
    """The image is never written to."""
    assert (
        console.anchor("run", "-i", rootfs, "sh", "-c", "echo x > /srv/new; rm /etc/group").code
        == 0
    )
    assert not (rootfs / "srv/new").exists()
    assert (rootfs / "etc/group").exists()


@pytest.mark.native
def test_without_a_network_there_is_loopback_only(console: Console, rootfs: Path) -> None:
    """--net none leaves no other link."""
    said = console.anchor("run", "-i", rootfs, "--net", "none", "ls", "/sys/class/net")
    assert (said.code, said.out) == (0, "lo\n"), said


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    """An archive of these members, the regular files with one byte in them."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x") if member.isreg() else None)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link inside an archive."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("trick", ["dots", "absolute", "through a link", "hard link"])
@pytest.mark.native
def test_an_archive_that_reaches_outside_is_refused(console: Console, trick: str) -> None:
    """`..`, an absolute name, or a link that leads out: a clear error, nothing written."""
    prey = console.directory / "prey"
    prey.mkdir()
    (prey / "secret").write_text("untouched")
    up = "../" * 12
    members = {
        "dots": [tarfile.TarInfo(f"{up}{prey}/written")],
        "absolute": [tarfile.TarInfo(f"{prey}/written")],
        "through a link": [link("out", str(prey)), tarfile.TarInfo("out/written")],
        "hard link": [link("stolen", f"{up}{prey}/secret", tarfile.LNKTYPE)],
    }[trick]
    said = console.anchor("run", "-i", archive(console.directory / "evil.tar", *members), "true")
    assert said.code != 0
    assert said.out == ""
    assert [path.name for path in prey.iterdir()] == ["secret"]
    assert (prey / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("content", [b"", b"not an archive" * 1000])
@pytest.mark.native
def test_an_archive_that_is_none_is_refused(console: Console, content: bytes) -> None:
    """An empty file, or garbage, is named as what it is."""
    broken = console.directory / "broken.tar"
    broken.write_bytes(content)
    said = console.anchor("run", "-i", broken, "true")
    assert said.code == 125, said
    assert "broken.tar" in said.err


@pytest.mark.native
def test_a_full_disk_while_unpacking_is_told_and_cleaned_up(
    console: Console, rootfs_tar: Path
) -> None:
    """No room in the data directory: exit code 125, the reason, and no half-unpacked layer."""
    small = f"mount -t tmpfs -o size=1m small {console.data_dir}; "
    look = f"; code=$?; find {console.data_dir} -type f -size +100k; exit $code"
    script = small + '"$@"' + look
    said = console.anchor(
        *("run", "-i", rootfs_tar, "true"), wrapped=["unshare", "-m", "sh", "-c", script, "sh"]
    )
    assert said.code == 125, said
    assert "no space left" in said.err
    assert said.out == ""
