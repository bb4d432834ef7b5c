"""`anchor exec`: what the process is to be like, and every way it can end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import pytest
from attrs import field, frozen

from anchor_program import Anchor
from anchor_supervisor.cli import exec_ as program
from anchor_supervisor.cli.main import main
from anchor_supervisor.errors import ControlError
from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.cgroup import find_mount
from anchor_supervisor.runtime.recipe import Process


def context(**facts: Any) -> dict[str, Any]:
    """What a supervisor says of a container whose main process is this one."""
    seen = pidfd.identify(os.getpid())
    assert seen is not None
    usual = {
        "name": "web.1",
        "pid": os.getpid(),
        "cgroup": f"{find_mount()}{seen.cgroup}",
        "environment": ["PATH=/bin", "HOME=/srv", "EMPTY=", "TWO=a=b"],
        "uid": 1000,
        "gid": 1001,
        "groups": [7],
        "capabilities": 3,
        "working_dir": "/srv",
        "no_new_privileges": True,
    }
    return {**usual, **facts}


@final
@frozen
class Options:
    """Parsed options."""

    user: str | None = None
    workdir: str | None = None
    env: list[str] = field(factory=list)


def process_of(options: Options) -> Process:
    """The process for `ls -l`."""
    return program._process(context(), options, ("ls", "-l"))  # type: ignore[arg-type]


def test_by_default_it_is_like_the_containers_own() -> None:
    """Ids, groups, directory, variables; our own three streams."""
    process = process_of(Options())
    assert (process.uid, process.gid, process.groups) == (1000, 1001, (7,))
    assert process.working_dir == "/srv"
    assert process.environment == {"PATH": "/bin", "HOME": "/srv", "EMPTY": "", "TWO": "a=b"}
    assert process.candidates == ("/bin/ls",)
    assert process.stdio == (0, 1, 2)


def test_options_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """-w, -e K=V, -e K from here; a user is looked up in the container's root."""
    monkeypatch.setenv("TAKEN", "here")
    process = process_of(Options(workdir="/tmp", env=["A=1=2", "TAKEN", "MISSING", "PATH=/x:/y"]))
    assert process.working_dir == "/tmp"
    assert process.environment["A"] == "1=2"
    assert process.environment["TAKEN"] == "here"
    assert "MISSING" not in process.environment
    assert process.candidates == ("/x/ls", "/y/ls")


@pytest.mark.root
def test_a_user_is_found_in_the_containers_root() -> None:
    """With its group and home."""
    process = process_of(Options(user="root"))
    assert (process.uid, process.gid) == (0, 0)
    assert process.environment["HOME"] == "/root"


def test_powers_come_from_the_main_process() -> None:
    """Its limits as they are now; whether it has user ids of its own."""
    powers = program._powers(context())
    assert powers.limits["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert not powers.private_users
    assert powers.bounding == 3
    assert powers.no_new_privileges


def test_a_pid_that_is_somebody_elses_by_now_is_not_entered() -> None:
    """The cgroup tells."""
    before = os.listdir("/proc/self/fd")
    elsewhere = context(cgroup="/sys/fs/cgroup/anchor-x/web.1")
    with pytest.raises(ControlError, match=r"`web.1` has just ended"):
        program._open_main_process(elsewhere)
    assert os.listdir("/proc/self/fd") == before
    os.close(program._open_main_process(context()))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["web"], "no command is given"),
        (["web", "--"], "no command is given"),
        (["-t", "web", "sh"], "`-t` is not supported yet"),
        ([], "NAME"),
        (["--no-such", "web", "x"], "--no-such"),
    ],
)
def test_a_wrong_use_is_our_error(
    capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    """125, before any supervisor is asked."""
    assert main(["exec", *words]) == 125
    assert complaint in capsys.readouterr().err


def test_without_a_fleet_it_is_our_error(anchor: Anchor) -> None:
    """125 and words: the command was never run."""
    result = anchor("exec", "-p", "shop", "web", "true")
    assert result.returncode == 125
    assert result.stdout == ""
    assert "`shop`" in result.stderr


FLEET = """
[containers.web]
image = "{rootfs}"
command = ["sleep", "1000"]
networks = "none"
user = "web"
environment = {{ A = "b" }}
"""


@pytest.fixture(scope="module")
def rootfs() -> Iterator[Path]:
    """A root with busybox, on a file system that can be idmapped."""
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="anchor-", dir=os.environ.get("ANCHOR_TEST_DIR", "/tmp")))
    place.chmod(0o755)
    root = place / "rootfs"
    for folder in ("bin", "etc", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    for applet in ("sh", "sleep", "cat", "id", "echo", "kill", "readlink", "pwd"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n")
    yield root
    shutil.rmtree(place)


@pytest.fixture
def running(
    environment: dict[str, str], nothing_left: None, rootfs: Path, anchor: Anchor, data_dir: Path
) -> Iterator[Anchor]:
    """A real fleet `shop` with one container."""
    path = data_dir.parent / "shop.toml"
    path.write_text(FLEET.format(rootfs=rootfs))
    program = [sys.executable, "-m", "anchor_supervisor.cli.supervise", "--detach", str(path)]
    try:
        subprocess.run(program, check=True, capture_output=True, env=environment, timeout=60)
        yield anchor
    finally:
        with suppress(subprocess.SubprocessError):
            anchor("down", "-p", "shop", "--volumes")


@pytest.mark.root
def test_a_command_in_a_real_container(running: Anchor) -> None:
    """Its output and exit code are the command's and nothing else; so is its world."""
    said = running("exec", "web", "sh", "-c", "id -u; echo $A; pwd; echo wrong >&2; exit 42")
    assert (said.returncode, said.stdout, said.stderr) == (42, "1000\nb\n/\n", "wrong\n")
    other = running(
        *("exec", "-u", "root", "-w", "/tmp", "-e", "A=c", "web.1"),
        *("sh", "-c", "id -u; echo $A; pwd; kill -KILL $$"),
    )
    assert (other.returncode, other.stdout, other.stderr) == (137, "0\nc\n/tmp\n", "")
    assert running("exec", "web", "no-such-program").returncode == 127
    assert running("exec", "web", "/etc/passwd").returncode == 126
    missing = running("exec", "wbe", "true")
    assert missing.returncode == 125
    assert "there is no container `wbe`" in missing.stderr
    fed = running.shell("echo fed | {anchor} exec web cat")
    assert fed.stdout == "fed\n"
