"""What stands in a fleet's way is found before anything is made: all of it, each with its place."""

from __future__ import annotations

import errno
import resource
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError, HostError, KernelError, Problem, UnfitHostError
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.fleet.parse import load
from anchor_supervisor.images.store import Store
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.network.fleet_network import used_networks
from anchor_supervisor.network.plan import plan_network
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.preflight import Findings, look
from anchor_supervisor.runtime.provisions import provisions

pytestmark = pytest.mark.root

Write = Callable[..., Fleet]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Load a fleet file of these lines, whose first is line 1."""

    def written(*lines: str) -> Fleet:
        path = tmp_path / "fleet.toml"
        path.write_text("\n".join(lines) + "\n")
        return load(path, {})

    return written


def placed(problem: Problem) -> tuple[str, int | None]:
    """The file's name and the line."""
    return Path(problem.file or "").name, problem.line


def only(problems: tuple[Problem, ...]) -> Problem:
    """The one problem there is."""
    [problem] = problems
    return problem


def test_a_right_fleet_has_no_findings(write: Write, rootfs: Path) -> None:
    """Nothing is refused, nothing is warned of."""
    fleet = write("[containers.web]", f'image = "{rootfs}"', 'command = ["true"]')
    assert look(fleet) == Findings()
    look(fleet).refuse()
    preflight.require_programs_on_disk(fleet)


def test_looking_changes_nothing(write: Write, rootfs: Path, tmp_path: Path) -> None:
    """Not even a directory is made."""
    fleet = write("[containers.web]", f'image = "{rootfs}"', 'command = ["true"]')
    before = sorted(tmp_path.rglob("*"))
    look(fleet)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('image = "./nowhere"', "nowhere` does not exist"),
        ('image = "./fleet.toml.tar"', "fleet.toml.tar` does not exist"),
        ('image = "./file"', "file` is not a directory"),
        ('image = "./folder.tar"', "folder.tar` is not a file"),
        ('image = "Postgres:16"', "`Postgres:16` is not an image's name"),
    ],
)
def test_an_image_that_is_not_there(write: Write, tmp_path: Path, line: str, words: str) -> None:
    """Told at the line of the image."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.tar").mkdir()
    problem = only(look(write("", "[containers.web]", 'command = ["x"]', line)).wrong)
    assert words in problem.message
    assert placed(problem) == ("fleet.toml", 4)
    assert problem.key == "containers.web.image"


def test_an_image_that_must_not_be_pulled_has_to_be_here(write: Write) -> None:
    """Any other may be missing: `up` pulls or builds it."""
    lines = ("[containers.web]", 'image = "postgres:16"')
    problem = only(look(write(*lines, 'pull = "never"')).unfit)
    assert "is not here" in problem.message
    assert placed(problem) == ("fleet.toml", 2)
    assert look(write(*lines)) == look(write(*lines, 'build = "."')) == Findings()
    problem = only(look(write(*lines, 'build = "./nowhere"')).unfit)
    assert "nowhere` to build image `postgres:16` of" in problem.message
    assert placed(problem) == ("fleet.toml", 3)
    preflight.require_programs_on_disk(write(*lines))


def test_a_volume_that_is_not_there(write: Write, rootfs: Path, tmp_path: Path) -> None:
    """Told at the line of the volumes; nothing is created behind anybody's back."""
    (tmp_path / "conf").mkdir()
    lines = (f'image = "{rootfs}"', 'command = ["x"]', 'volumes = ["./conf:/c", "./data:/d"]')
    problem = only(look(write("[containers.web]", *lines)).wrong)
    assert "data` to mount on `/d`" in problem.message
    assert placed(problem) == ("fleet.toml", 4)
    assert problem.hint
    assert not (tmp_path / "data").exists()


def test_a_missing_subpath_is_told_before_anything_starts(
    write: Write, rootfs: Path, tmp_path: Path
) -> None:
    """At its line, and so is a link that would lead out of the source."""
    (tmp_path / "conf/web").mkdir(parents=True)
    (tmp_path / "conf/out").symlink_to("/etc")
    for subpath, wrong in (("web", 0), ("typo", 1), ("out", 1)):
        entry = f'volumes = ["./conf:/c:subpath={subpath}"]'
        found = look(write("[containers.web]", f'image = "{rootfs}"', 'command = ["x"]', entry))
        assert len(found.wrong) == wrong
        for problem in found.wrong:
            assert f"has no `{subpath}` within it" in problem.message
            assert placed(problem) == ("fleet.toml", 4)


@pytest.mark.parametrize("strategy", ["copy", "reflink"])
def test_the_whole_machine_is_not_copied(strategy: str, write: Write) -> None:
    """A copy of the host is refused at its line."""
    root = f'root = "{strategy}"'
    fleet = write("[containers.web]", 'image = "host"', 'command = ["x"]', root)
    problem = only(look(fleet).wrong)
    assert "would copy the whole machine" in problem.message
    assert placed(problem) == ("fleet.toml", 4)


def test_a_declared_limit_is_strict_or_warned_of(
    write: Write, rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a controller: refused at its line, or a warning; defaults are silent."""
    monkeypatch.setattr(Cgroup, "controllers", lambda _: frozenset({"pids"}))
    web = ("[containers.web]", f'image = "{rootfs}"', 'command = ["x"]')
    limit = 'limits = { pids = 64, memory = "64M" }'
    found = look(write(*web, limit))
    problem = only(found.unfit)
    assert "cannot enforce the limit `memory` of `web`" in problem.message
    assert placed(problem) == ("fleet.toml", 4)
    with pytest.raises(UnfitHostError):
        found.refuse()
    lax = look(write("[fleet]", 'limits = "best-effort"', *web, limit))
    assert (lax.wrong, lax.unfit, len(lax.warnings)) == ((), (), 1)
    lax.refuse()
    monkeypatch.setattr(Cgroup, "controllers", lambda _: frozenset())
    assert look(write(*web)) == Findings()


def test_an_ulimit_above_our_own(
    write: Write, rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs a capability on the machine; where we lack it, told at its line."""
    web = ("[containers.web]", f'image = "{rootfs}"', 'command = ["x"]')
    fleet = write(*web, "ulimits = { nofile = [100, 99999999] }")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(preflight, "_holds_capability", lambda _: True)
    assert look(fleet) == Findings()
    monkeypatch.setattr(preflight, "_holds_capability", lambda _: False)
    problem = only(look(fleet).unfit)
    assert "`nofile = 99999999` is above" in problem.message
    assert placed(problem) == ("fleet.toml", 4)


def test_everything_is_told_at_once(write: Write) -> None:
    """Three mistakes in two containers are three problems of one error."""
    fleet = write(
        *("[containers.a]", 'image = "./gone"', 'command = ["x"]', 'volumes = ["./none:/n"]'),
        *("[containers.b]", 'image = "./lost.tar"', 'command = ["x"]'),
    )
    with pytest.raises(FleetError) as caught:
        look(fleet).refuse()
    assert sorted(problem.line or 0 for problem in caught.value.problems) == [2, 4, 6]


def test_only_root_may_look(write: Write, rootfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else is told what to do."""
    fleet = write("[containers.web]", f'image = "{rootfs}"', 'command = ["x"]')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HostError, match="only be started by root") as caught:
        look(fleet)
    assert "sudo" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ('["true"]', None),
        ('["/bin/sh", "-c", "x"]', None),
        ('["./relative"]', None),
        ('["/work/tool"]', None),
        ('["serve"]', "`serve` was not found"),
        ('["/bin/serve"]', "`/bin/serve` was not found"),
        ('["/etc/not-executable"]', "`/etc/not-executable` is not executable"),
        ('["/etc"]', "`/etc` is not executable"),
        ('["/escape/bin/python3"]', "`/escape/bin/python3` was not found"),
    ],
)
def test_a_program_is_looked_for_as_the_container_will_see_it(
    write: Write, rootfs: Path, tmp_path: Path, command: str, verdict: str | None
) -> None:
    """On its PATH, beneath its root, links kept inside; what a volume brings is execve's."""
    (tmp_path / "work").mkdir()
    escape = rootfs / "escape"
    escape.unlink(missing_ok=True)
    escape.symlink_to("/usr")
    fleet = write(
        "[containers.web]",
        f'image = "{rootfs}"',
        f"command = {command}",
        'volumes = ["./work:/work"]',
    )
    if verdict is None:
        preflight.require_programs_on_disk(fleet)
        return
    with pytest.raises(FleetError) as caught:
        preflight.require_programs_on_disk(fleet)
    problem = only(caught.value.problems)
    assert problem.message.startswith(f"{verdict} in image")
    assert placed(problem) == ("fleet.toml", 3)


def test_an_archive_of_several_containers_is_unpacked_once(
    write: Write, rootfs: Path, tmp_path: Path, data_dir: Path
) -> None:
    """And is not unpacked to answer --check."""
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(rootfs, arcname=".")
    fleet = write(
        *("[containers.a]", 'image = "./root.tar"', 'command = ["true"]'),
        *("[containers.b]", 'image = "./root.tar"', 'command = ["serve"]'),
    )
    preflight.require_programs_on_disk(fleet)
    assert list(data_dir.iterdir()) == []
    store = Store(data_dir)
    with store.lease("test") as lease:
        layers = provisions(fleet, store, lease).layers
        assert layers["a"] is layers["b"]
        with pytest.raises(FleetError, match="`serve` was not found"):
            preflight.require_commands(fleet, layers)


def test_a_port_that_somebody_has_is_told(write: Write, rootfs: Path) -> None:
    """At the line of the ports, before anything is made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        fleet = write(
            *("[containers.web]", f'image = "{rootfs}"', 'command = ["true"]'),
            f'ports = ["{number}:80"]',
        )
        plan = plan_network(fleet, "0000000", used_networks("0000000"))
        with pytest.raises(UnfitHostError) as caught:
            preflight.require_ports(fleet, plan.ports)
    problem = only(caught.value.problems)
    assert str(number) in problem.message
    assert placed(problem) == ("fleet.toml", 4)
    preflight.require_ports(fleet, plan.ports)


def test_a_lack_of_descriptors_says_nothing_of_the_image(
    write: Write, rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program may be there: it could not be looked for."""

    def refuse(root: int, path: str, flags: int) -> int:
        raise KernelError(errno.EMFILE, "open", path)

    monkeypatch.setattr(preflight, "open_beneath", refuse)
    fleet = write("[containers.web]", f'image = "{rootfs}"', 'command = ["true"]')
    with pytest.raises(KernelError, match="Too many open files"):
        preflight.require_programs_on_disk(fleet)
