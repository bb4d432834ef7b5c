"""Starting a child that cannot start: which step is named, and that nothing is left."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anchor_supervisor.kernel import cgroup, mount, namespaces, pidfd, spawn, steps
from container_box import EMPTY, NEW, PROC, Box, wait

pytestmark = pytest.mark.root

BAD = 1_000_000
"""A descriptor that nobody has."""

FAILING: list[tuple[steps.Step, int]] = [
    (steps.NewSession(), errno.EPERM),
    (steps.SetHostname("x" * 65), errno.EINVAL),
    (steps.OpenFilesystem(PROC, "nosuchfs"), errno.ENODEV),
    (steps.OpenFilesystem(EMPTY, "tmpfs", (("nosuchoption", "1"),)), errno.EINVAL),
    (steps.OpenFilesystem(EMPTY, "tmpfs", (("nosuchflag", None),)), errno.EINVAL),
    (steps.OpenFilesystem(EMPTY, "tmpfs", (), 1 << 30), errno.EINVAL),
    (steps.EnterRoot(BAD), errno.EBADF),
    (steps.Attach(BAD, "/mnt", "nothing"), errno.EBADF),
    (steps.Attach(BAD, "/bin/sh/x", "nothing"), errno.ENOTDIR),
    (steps.Attach(BAD, "/proc/self/exe/x", "nothing"), errno.ELOOP),
    (steps.MakeDirectory("/bin/busybox/x"), errno.ENOTDIR),
    (steps.MakeDirectory("/bin/busybox"), errno.ENOTDIR),
    (steps.MakeDirectory("/proc/x"), errno.ENOENT),
    (steps.MakeSymlink("/bin/sh", "busybox"), errno.EEXIST),
    (steps.MakeSymlink("/absent/link", "busybox"), errno.ENOENT),
    (steps.WriteBeneath(BAD, "x", "1"), errno.EBADF),
    (steps.WriteBeneath(PROC, "sys/net/core/absent", "1"), errno.ENOENT),
    (steps.WriteBeneath(PROC, "../etc/passwd", "1"), errno.EXDEV),
    (steps.WriteBeneath(PROC, "self/comm", "1"), errno.ELOOP),
    (steps.MakeReadOnly("/bin", remount=True), errno.EINVAL),
    (steps.Mask("/bin", BAD, BAD), errno.EBADF),
    (steps.SetLimit("nofile", 7, 2, 1), errno.EINVAL),
    (steps.SetLimit("nothing", 99, 1, 1), errno.EINVAL),
    (steps.ChangeDirectory("/absent", create=False), errno.ENOENT),
    (steps.ChangeDirectory("/bin/busybox"), errno.ENOTDIR),
    (steps.ControllingTerminal(), errno.ENOTTY),
    (steps.SetStdio(BAD, 1, 2), errno.EBADF),
    (steps.SetIds(200_000, 0), errno.EINVAL),
    (steps.SetIds(0, 200_000), errno.EINVAL),
    (steps.SetIds(0, 0, (200_000,)), errno.EINVAL),
]


@pytest.fixture(autouse=True)
def _nothing_of_ours_is_left() -> Iterator[None]:
    """Compare descriptors, mappings and children before and after."""
    before = _ours()
    yield
    assert _ours() == before


def _ours() -> tuple[set[str], list[str]]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}, _children()


def _children() -> list[str]:
    """Ask every thread for its own; of a process, there is no list.

    A thread that ends meanwhile (one that an earlier test left idle) has given its children to
    another, which may have been asked already: what was read is then of two times, and no answer.
    """
    while True:
        tasks = Path("/proc/self/task").iterdir()
        try:
            return " ".join((task / "children").read_text() for task in tasks).split()
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.fixture
def in_order(_nothing_of_ours_is_left: None, box: Box) -> Box:
    """A box that is gone before the comparison."""
    return box


@pytest.mark.parametrize(
    ("step", "number"), FAILING, ids=[f"{step.describe()}-{number}" for step, number in FAILING]
)
def test_a_step_that_fails_is_named_and_leaves_nothing(
    in_order: Box, step: steps.Step, number: int
) -> None:
    """The error carries errno, the step's index and its words; with memory shared and without."""
    before = _ours()
    for share_memory in (True, False):
        with pytest.raises(spawn.SpawnError) as raised:
            in_order.run("true", inside=[step], share_memory=share_memory)
        error = raised.value
        assert (error.errno, error.shell_code) == (number, spawn.OUR_ERROR)
        assert error.step_index == len(in_order.joins()) + len(in_order.enter(0))
        assert str(error) == f"{step.describe()}: {os.strerror(number)}"
        assert _ours() == before


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (steps.JoinNamespace(BAD, namespaces.CLONE_NEWNET, "network"), errno.EBADF),
        (steps.JoinNamespace(0, namespaces.CLONE_NEWNET, "network"), errno.EINVAL),
        (steps.CloneAgain(namespaces.CLONE_NEWNS | 0x200, "impossible"), errno.EINVAL),
    ],
)
def test_a_failure_of_the_first_child_leaves_nothing(step: steps.Step, number: int) -> None:
    """What fails before the second child is there is reported just the same."""
    plan: list[steps.Step] = [
        steps.NewSession(),
        step,
        steps.Execute(("/bin/true",), ("true",), ()),
    ]
    with pytest.raises(spawn.SpawnError) as raised:
        spawn.spawn(plan)
    assert (raised.value.errno, raised.value.step_index) == (number, 1)


@pytest.mark.parametrize("again", [True, False])
def test_a_clone_that_fails_has_no_step(again: bool) -> None:
    """The first clone's failure is its own, not a step's."""
    plan: list[steps.Step] = [steps.CloneAgain(0, "x")] if again else []
    plan.append(steps.Execute(("/bin/true",), ("true",), ()))
    with pytest.raises(spawn.SpawnError, match="clone a child: Bad file descriptor") as raised:
        spawn.spawn(plan, cgroup=BAD)
    assert raised.value.step_index is None


def _absent(root: Path) -> None:
    """Put nothing there."""


def _refused(root: Path) -> None:
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o644)


def _no_format(root: Path) -> None:
    (root / "bin/tool").write_text("no magic")
    (root / "bin/tool").chmod(0o755)


def _directory(root: Path) -> None:
    (root / "bin/tool").mkdir()


def _no_interpreter(root: Path) -> None:
    (root / "bin/tool").write_text("#!/absent\n")
    (root / "bin/tool").chmod(0o755)


def _refused_then_absent(root: Path) -> None:
    (root / "usr/local/bin").mkdir(parents=True)
    (root / "usr/local/bin/tool").write_text("not executable")


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize(
    ("prepare", "number", "code"),
    [
        (_absent, errno.ENOENT, 127),
        (_no_interpreter, errno.ENOENT, 127),
        (_refused, errno.EACCES, 126),
        (_refused_then_absent, errno.EACCES, 126),
        (_no_format, errno.ENOEXEC, 126),
        (_directory, errno.EACCES, 126),
    ],
)
def test_a_command_that_cannot_be_executed_has_a_shells_code(
    in_order: Box, init: bool, prepare: Callable[[Path], None], number: int, code: int
) -> None:
    """127 where it is missing, 126 where it is refused, with init and without."""
    prepare(in_order.root)
    before = _ours()
    with pytest.raises(spawn.SpawnError, match="execute `tool`") as raised:
        in_order.run("tool", init=init)
    assert (raised.value.errno, raised.value.shell_code) == (number, code)
    assert _ours() == before


def test_a_child_that_hangs_is_killed_at_the_deadline(data_dir: Path) -> None:
    """A step that waits for ever ends with ETIMEDOUT, and nothing stays."""
    os.mkfifo(data_dir / "fifo")
    root = os.open(data_dir, os.O_RDONLY)
    hang = steps.WriteBeneath(root, "fifo", "nobody reads")
    execute = steps.Execute(("/bin/true",), ("true",), ())
    plans: list[list[steps.Step]] = [
        [hang, execute],
        [steps.CloneAgain(NEW, "x"), hang, execute],
    ]
    for plan in plans:
        for share_memory in (True, False):
            with pytest.raises(spawn.SpawnError) as raised:
                spawn.spawn(plan, timeout=0.05, share_memory=share_memory)
            assert (raised.value.errno, raised.value.shell_code) == (errno.ETIMEDOUT, 125)
    os.close(root)


def test_a_child_killed_from_outside_while_it_starts_leaves_nothing(
    data_dir: Path, group: cgroup.Cgroup
) -> None:
    """A kill may meet a child at any step: the caller gets an end or an error, never a hang."""
    os.mkfifo(data_dir / "fifo")
    root, directory = os.open(data_dir, os.O_RDONLY), group.open()
    hang = steps.WriteBeneath(root, "fifo", "nobody reads")
    plan: list[steps.Step] = [
        steps.CloneAgain(NEW, "x"),
        hang,
        steps.Execute(("/bin/true",), ("true",), ()),
    ]
    found: list[pidfd.Ending] = []
    thread = threading.Thread(
        target=lambda: found.append(wait(spawn.spawn(plan, cgroup=directory)))
    )
    thread.start()
    while len(group.processes()) < 2:
        assert thread.is_alive()
    second = group.processes()[-1]
    os.kill(second, signal.SIGKILL)
    thread.join()
    assert found == [pidfd.Ending(signal=signal.SIGKILL)]
    os.close(root)
    os.close(directory)


def test_a_mount_cannot_be_attached_twice_so_it_is_refused(in_order: Box) -> None:
    """A detached mount is in one place only; the second container is told so."""
    before = _ours()
    taken = mount.clone_tree("/dev/null")
    use: list[steps.Step] = [steps.Attach(taken, "/dev/zero", "a device", directory=False)]
    assert in_order.run("true", inside=use).ending == pidfd.Ending(code=0)
    with pytest.raises(spawn.SpawnError) as raised:
        in_order.run("true", inside=use)
    assert raised.value.errno == errno.EINVAL
    os.close(taken)
    assert _ours() == before
