"""`anchor run`: a command line said as a fleet file, and the exit code of each end."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.cli import run as program
from anchor_supervisor.cli.main import main
from anchor_supervisor.errors import AnchorError, HostError, ImageError
from anchor_supervisor.fleet.model import (
    Fleet,
    ImageKind,
    InstanceId,
    Kind,
    LimitsMode,
    NetworkMode,
    RootStrategy,
    VolumeKind,
)
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.kernel.steps import Execute
from anchor_supervisor.runtime.terms import Ending, Options, Outcome
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.states import ExitStatus

EXECUTE = Execute(("/bin/x",), ("x",), (), None, None)


class Supervised:
    """Stands for `supervise`: notes the fleet, and lets its one job end in this way."""

    def __init__(self) -> None:
        self.end: ExitStatus | AnchorError | None = ExitStatus(code=0)
        self.fleets: list[Fleet] = []
        self.options: Options | None = None

    def __call__(self, fleet: Fleet, options: Options) -> Ending:
        self.fleets.append(fleet)
        self.options = options
        [name] = fleet.containers
        instance = InstanceId(name)
        core = Core(fleet)
        core.handle(events.FleetStartRequested(), 0.0)
        failures = {}
        if isinstance(self.end, AnchorError):
            core.handle(events.SpawnFailed(instance, str(self.end), permanent=True), 1.0)
            failures[instance] = self.end
        elif self.end is None:
            core.handle(events.FleetStopRequested(), 1.0)
            core.handle(events.SpawnFailed(instance, "cancelled"), 2.0)
        else:
            core.handle(events.Spawned(instance, 4711), 1.0)
            core.handle(events.Exited(instance, self.end), 2.0)
        return Ending(Outcome(0, "done"), core.statuses(), failures)


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Supervised:
    """A command that succeeds."""
    made = Supervised()
    monkeypatch.setattr(program, "supervise", made)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (ExitStatus(code=0), 0),
        (ExitStatus(code=42), 42),
        (ExitStatus(signal=9), 137),
        (ExitStatus(signal=15), 143),
        (ExitStatus(), 125),
        (SpawnError(2, EXECUTE, 9), 127),
        (SpawnError(13, EXECUTE, 9), 126),
        (SpawnError(12, None, None), 125),
        (ImageError("the archive is torn"), 125),
        (None, 143),
    ],
)
def test_the_exit_code_is_the_commands(
    supervised: Supervised, end: ExitStatus | AnchorError | None, code: int
) -> None:
    """128+N for a signal, 125 for our own errors, 126 not executable, 127 not found."""
    supervised.end = end
    assert main(["run", "x"]) == code


def test_a_kill_for_memory_is_said(
    supervised: Supervised, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exit code alone would look like a crash."""
    supervised.end = ExitStatus(signal=9, oom="oom (limit 64M, peak 64M)")
    assert main(["run", "--name", "hungry", "x"]) == 137
    assert "`hungry` was killed: oom (limit 64M, peak 64M)" in capsys.readouterr().err


def test_a_plain_command(supervised: Supervised) -> None:
    """One job over the machine's own root, with our own three streams, that leaves no log."""
    assert main(["run", "sh", "-c", "echo $HOME; id"]) == 0
    [fleet] = supervised.fleets
    [container] = fleet.containers.values()
    assert container.command == ("sh", "-c", "echo $HOME; id")
    assert (container.image.kind, container.kind) == (ImageKind.HOST, Kind.JOB)
    assert fleet.name == container.name
    assert fleet.name.startswith("run-")
    assert fleet.limits is LimitsMode.STRICT
    options = supervised.options
    assert options is not None
    assert options.stdio is not None
    assert (options.stdio.stdin, options.stdio.stdout, options.stdio.stderr) == (0, 1, 2)
    assert options.forget_logs


def test_every_option_is_said_as_a_file_would(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Image, variables, volumes, ports, limits, user, directory, network, root."""
    (tmp_path / "rootfs").mkdir()
    monkeypatch.setenv("TAKEN", "from $here")
    words = [
        *("run", "--rm", "-i", "rootfs", "--name", "box", "-e", "A=1=2", "-e", "TAKEN"),
        *("-e", "MISSING", "-v", "data:/data:ro", "-v", "/etc:/conf", "-v", "tmpfs:/t:size=1M"),
        *("-p", "8080:80", "-m", "64M", "--cpus", "0.5", "-u", "web:web", "-w", "/srv"),
        *("--read-only", "--root-strategy", "copy", "--limits", "best-effort", "--", "ls", "-l"),
    ]
    assert main(words) == 0
    [fleet] = supervised.fleets
    box = fleet.containers["box"]
    assert box.command == ("ls", "-l")
    assert (box.image.kind, box.image.reference) == (ImageKind.DIRECTORY, f"{tmp_path}/rootfs")
    assert dict(box.environment) == {"A": "1=2", "TAKEN": "from $here"}
    assert [(v.kind, v.source, v.target, v.read_only) for v in box.volumes] == [
        (VolumeKind.BIND, f"{tmp_path}/data", "/data", True),
        (VolumeKind.BIND, "/etc", "/conf", False),
        (VolumeKind.TMPFS, None, "/t", False),
    ]
    [port] = box.ports
    assert (port.host_address, port.host_port, port.container_port) == ("127.0.0.1", 8080, 80)
    assert (box.limits.memory, box.limits.cpus) == (64 << 20, 0.5)
    assert (box.user, box.working_dir) == ("web:web", "/srv")
    assert box.read_only
    assert box.root is RootStrategy.COPY
    assert fleet.limits is LimitsMode.BEST_EFFORT


@pytest.mark.parametrize(
    ("net", "mode"),
    [("none", NetworkMode.NONE), ("host", NetworkMode.HOST), ("default", NetworkMode.BRIDGE)],
)
def test_the_network(supervised: Supervised, net: str, mode: NetworkMode) -> None:
    """None, the machine's own, or one of its own."""
    assert main(["run", "--net", net, "x"]) == 0
    [container] = supervised.fleets[0].containers.values()
    assert container.network_mode is mode


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "no command is given"),
        (["--"], "no command is given"),
        (["-t", "x"], "`-t` is not supported yet"),
        (["-d", "x"], "`-d` is not supported yet"),
        (["-m", "lots", "x"], "lots"),
        (["-p", "nonsense", "x"], "nonsense"),
        (["--name", "Not A Name", "x"], "Not A Name"),
        (["--net", "nowhere", "x"], "nowhere"),
        (["--cpus", "many", "x"], "--cpus"),
        (["--no-such-option", "x"], "--no-such-option"),
    ],
)
def test_a_wrong_use_is_our_error(
    supervised: Supervised, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    """125, so that no command's own code is mistaken for it; nothing is started."""
    assert main(["run", *words]) == 125
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said
    assert supervised.fleets == []


def test_a_machine_that_cannot_is_our_error(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """125 as well, with the remedy."""

    def refuse(*_: object) -> None:
        message = "cgroup2 is not mounted"
        raise HostError(message, hint="mount it")

    monkeypatch.setattr(program, "supervise", refuse)
    assert main(["run", "x"]) == 125
    assert capsys.readouterr().err == "error: cgroup2 is not mounted\nhint: mount it\n"
