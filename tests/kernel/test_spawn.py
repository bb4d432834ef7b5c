"""Starting a child for real: where it lands, what it holds, and what it cannot see."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.kernel import capabilities, cgroup, mount, namespaces, pidfd, spawn, steps
from container_box import EMPTY, IDS, NEW, PROC, Box, wait

pytestmark = pytest.mark.root

SYSCTL = "sys/net/ipv4/ip_unprivileged_port_start"
"""One that a container with a user namespace of its own may write on every kernel."""


def host_execute(*argv: str) -> steps.Execute:
    """Execute a program of the host."""
    return steps.Execute((argv[0],), argv, ())


def _status(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("share_memory", [True, False])
@pytest.mark.parametrize("init", [True, False])
def test_a_container_runs_and_its_exit_code_comes_back(
    box: Box, init: bool, share_memory: bool
) -> None:
    """The exit code is the command's, with and without init, sharing memory or not."""
    outcome = box.run("sh", "-c", "echo said; exit 7", init=init, share_memory=share_memory)
    assert (outcome.ending, outcome.output) == (pidfd.Ending(code=7), "said\n")


def test_without_a_user_namespace_the_container_works_too(host_box: Box) -> None:
    """Root inside may be root outside; the mounts are still the container's alone."""
    out = host_box.say("cat /proc/self/uid_map; ls /; cat /proc/mounts")
    assert "4294967295" in out
    assert "/home" not in out
    assert "/tmp" not in out


def test_the_flags_of_the_first_child_make_namespaces(root_directory: Path, box: Box) -> None:
    """Without CloneAgain the first child takes every step in the namespaces of `flags`."""
    root = mount.clone_tree(root_directory)
    read, write = os.pipe()
    plan: list[steps.Step] = [
        steps.OpenFilesystem(PROC, "proc"),
        steps.EnterRoot(root),
        steps.Attach(PROC, "/proc", "proc", strict=True),
        steps.SetStdio(0, write, write),
        steps.Execute(("/bin/sh",), ("sh", "-c", "echo $$; ls -d /proc/[0-9]*"), ()),
    ]
    child = spawn.spawn(plan, flags=NEW)
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read().splitlines()[:2] == ["1", "/proc/1"]
    assert wait(child) == pidfd.Ending(code=0)
    os.close(root)


def test_a_child_is_born_in_its_cgroup(group: cgroup.Cgroup) -> None:
    """The child is in the group from its first instruction, and no pid was written."""
    directory = group.open()
    child = spawn.spawn([host_execute("/bin/sleep", "1000")], cgroup=directory)
    os.close(directory)
    assert group.processes() == (child.pid,)
    group.kill()
    assert wait(child) == pidfd.Ending(signal=signal.SIGKILL)


def test_the_pid_namespace_belongs_to_the_containers_user_namespace(box: Box) -> None:
    """Root in the container owns its pid namespace, which is why it may mount /proc."""
    child, _ = _start_sleep(box)
    fd = os.open(f"/proc/{child.pid}/ns/pid", os.O_RDONLY)
    owner = _owning_user_namespace(fd)
    assert os.fstat(owner).st_ino == os.fstat(box.sandbox.user or -1).st_ino
    os.close(owner)
    os.close(fd)
    pidfd.send_signal(child.pidfd, signal.SIGKILL)
    wait(child)


def _owning_user_namespace(fd: int) -> int:
    return fcntl.ioctl(fd, 0xB701)  # NS_GET_USERNS: ioctl_ns(2)


def _start_sleep(box: Box, **how: object) -> tuple[spawn.Child, int]:
    null = os.open("/dev/null", os.O_RDWR)
    child = box.start(null, ("sleep", "1000"), **how)  # type: ignore[arg-type]
    os.close(null)
    return child, child.pid


def test_the_command_has_three_descriptors(box: Box) -> None:
    """Nothing of the supervisor's is open in a container but 0, 1 and 2 (CVE-2024-21626)."""
    leak = [os.open("/", os.O_RDONLY) for _ in range(20)]
    for fd in leak:
        os.set_inheritable(fd, True)
    for init in (True, False):
        out = box.run("sh", "-c", "cd /proc/$$/fd; echo *", init=init).output
        assert out.split()[:3] == ["0", "1", "2"]
        assert set(out.split()) <= {"0", "1", "2", "3", "10"}
        assert "/" not in box.run("readlink", "/proc/1/fd/5", init=init).output
    for fd in leak:
        os.close(fd)


def test_init_holds_no_descriptor_of_ours(box: Box) -> None:
    """Process 1 has its three, and the status file where there is one; the report is closed."""
    out = box.say("while ls /proc/1/fd | grep -q 3; do :; done; ls /proc/1/fd")
    assert out.split() == ["0", "1", "2"]


def test_init_gives_none_of_its_descriptors_away(box: Box) -> None:
    """The container's user is init's too, but may look into nothing of it: it is not dumpable."""
    assert box.say("readlink /proc/1/fd/0 || echo refused").split() == ["refused"]


@pytest.mark.parametrize(
    ("add", "drop"), [((), ()), (("NET_RAW",), ("KILL",)), ((), ("ALL",)), (("ALL",), ())]
)
def test_capabilities_are_exactly_as_asked(
    box: Box, add: tuple[str, ...], drop: tuple[str, ...]
) -> None:
    """Bounding, permitted and effective are the mask; inheritable and ambient are empty."""
    box.mask = capabilities.resolve(add, drop)
    for init in (True, False):
        found = _status(box.run("cat", "/proc/self/status", init=init).output)
        for kind in ("CapBnd", "CapPrm", "CapEff"):
            assert int(found[kind], 16) == box.mask, kind
        assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
        assert found["NoNewPrivs"] == "1"


def test_a_user_that_is_not_root_holds_no_capability(box: Box) -> None:
    """A named user has the mask as its bound, and nothing effective."""
    last: list[steps.Step] = [steps.SetIds(1000, 1000, (20, 30)), steps.SetCapabilities(0, "none")]
    out = box.run("sh", "-c", "id -u; id -G; cat /proc/self/status", last=last).output
    assert out.splitlines()[:2] == ["1000", "1000 20 30"]
    found = _status(out)
    assert int(found["CapBnd"], 16) == box.mask
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == int(found["CapAmb"], 16) == 0


def test_signals_and_umask_are_as_new(box: Box) -> None:
    """Nothing is blocked, and nothing ignored: Python ignores SIGPIPE, its children must not."""
    for init in (True, False):
        found = _status(box.run("cat", "/proc/self/status", init=init).output)
        assert int(found["SigBlk"], 16) == int(found["SigIgn"], 16) == 0
        assert found["Umask"] == "0022"


def test_host_name_limits_and_sysctls_are_set(box: Box) -> None:
    """Each of these steps has its effect inside, and only there."""
    inside: list[steps.Step] = [
        steps.SetHostname("inside"),
        steps.WriteBeneath(PROC, SYSCTL, "321"),
        steps.SetLimit("nofile", 7, 99, 100),
    ]
    out = box.say(
        f"cat /proc/sys/kernel/hostname /proc/{SYSCTL}; ulimit -n; ulimit -Hn",
        inside=inside,
    )
    assert out.split() == ["inside", "321", "99", "100"]
    assert Path("/proc/sys/kernel/hostname").read_text() != "inside\n"


def test_masked_and_read_only_paths_hold(box: Box) -> None:
    """Files and directories are hidden, any number of them; a missing one is passed over."""
    (box.root / "secret").mkdir()
    (box.root / "secret/key").write_text("key")
    (box.root / "hidden").write_text("hidden")
    masks = [
        steps.Mask(path, EMPTY, box.cover)
        for path in ("/secret", "/hidden", "/proc/keys", "/proc/acpi", "/sys/firmware", "/absent")
    ]
    read_only: list[steps.Step] = [
        steps.MakeReadOnly("/proc/sys"),
        steps.MakeReadOnly("/absent"),
        steps.MakeReadOnly("/dev", remount=True),
    ]
    script = (
        "ls -A /secret /sys/firmware; cat /hidden /proc/keys;"
        f" echo 1 > /proc/{SYSCTL}; echo 1 > /dev/file; echo 1 > /secret/file; true"
    )
    out = box.say(script, inside=[*masks, *read_only])
    assert out.count("Read-only file system") == 3
    assert "key" not in out
    assert "hidden" not in out


def test_directories_and_links_are_made(box: Box) -> None:
    """Modes are as asked whatever the umask, and parents are made on the way."""
    inside: list[steps.Step] = [
        steps.MakeDirectory("/dev/a/shm", 0o1777),
        steps.MakeDirectory("/dev/a"),
        steps.MakeSymlink("/dev/fd", "/proc/self/fd"),
        steps.ChangeDirectory("/srv/app"),
    ]
    out = box.say("ls -ld /dev/a/shm; readlink /dev/fd; ls -d /srv/app", inside=inside)
    assert out.startswith("drwxrwxrwt")
    assert out.splitlines()[1:] == ["/proc/self/fd", "/srv/app"]


def test_no_process_of_the_container_is_the_hosts_root(box: Box) -> None:
    """On the host the container's root is an id of its own range."""
    child, _ = _start_sleep(box)
    assert Path(f"/proc/{child.pid}").stat().st_uid == IDS.first
    pidfd.send_signal(child.pidfd, signal.SIGKILL)
    wait(child)


def test_the_init_reports_the_raw_status(box: Box, run_dir: Path) -> None:
    """The status file holds what wait(2) gave for the command itself, and init's code follows."""
    for script, ending in (("exit 9", 9 << 8), ("kill -9 $$", 9), ("kill -TERM $$", 15)):
        file = run_dir / "status"
        fd = os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        outcome = box.run("sh", "-c", script, status=fd)
        os.close(fd)
        assert struct.unpack("i", file.read_bytes()) == (ending,)
        found = pidfd.ending_of_status(ending)
        assert outcome.ending == pidfd.Ending(code=found.shell_code)
        file.unlink()


def test_init_forwards_signals_and_reaps_orphans(box: Box) -> None:
    """SIGTERM to process 1 reaches the command; an orphan does not stay a zombie."""
    script = (
        "trap 'echo got; exit 5' TERM; (sleep 0.01 & ) ; echo ready;"
        " while :; do sleep 0.01; for p in /proc/[0-9]*; do"
        " grep -q '^State:.Z' $p/status 2>/dev/null && grep -q 'PPid:.1$' $p/status && echo zombie;"
        " done; done"
    )
    read, write = os.pipe()
    child = box.start(write, ("sh", "-c", script))
    os.close(write)
    with os.fdopen(read) as said:
        assert said.readline() == "ready\n"
        pidfd.send_signal(child.pidfd, signal.SIGTERM)
        assert said.read().split()[-1] == "got"
    assert wait(child) == pidfd.Ending(code=5)


def test_a_command_can_be_run_in_a_running_container(box: Box) -> None:
    """Joining by pidfd, without sharing memory, lands in every namespace of the container."""
    child, _ = _start_sleep(box)
    read, write = os.pipe()
    kinds = NEW | namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS
    plan: list[steps.Step] = [
        steps.JoinNamespace(child.pidfd, kinds, "container"),
        steps.SetIds(0, 0),
        steps.CloneAgain(0, "process"),
        *box.limit(),
        steps.ChangeDirectory("/", create=False),
        steps.SetStdio(0, write, write),
        steps.Execute(("/bin/sh",), ("sh", "-c", "cat /proc/1/comm; echo $PPID; id -u"), ()),
    ]
    guest = spawn.spawn(plan, share_memory=False)
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read().split() == ["anchor-init", "0", "0"]
    assert wait(guest) == pidfd.Ending(code=0)
    pidfd.send_signal(child.pidfd, signal.SIGKILL)
    wait(child)


def test_many_threads_may_spawn_at_once(box: Box) -> None:
    """Spawns do not get into each other's way, and each gets its own child's answer."""
    found: list[tuple[int, int | None]] = []

    def work(number: int) -> None:
        for code in range(number * 5, number * 5 + 5):
            plan: list[steps.Step] = [
                steps.CloneAgain(NEW, "x"),
                host_execute("/bin/sh", "-c", f"exit {code}"),
            ]
            found.append((code, wait(spawn.spawn(plan)).code))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(asked == got for asked, got in found)


def test_a_plan_that_makes_no_sense_is_our_bug() -> None:
    """A wrong list is refused before anything is cloned."""
    plans: list[list[steps.Step]] = [
        [],
        [steps.NewSession()],
        [host_execute("/bin/true"), host_execute("/bin/true")],
        [steps.SetStdio(0, 1, 2), steps.CloneAgain(0, "x"), host_execute("/bin/true")],
        [steps.MakeDirectory("relative"), host_execute("/bin/true")],
        [steps.SetHostname("nul\0"), host_execute("/bin/true")],
        [steps.SetIds(0, 0, tuple(range(65))), host_execute("/bin/true")],
    ]
    for plan in plans:
        with pytest.raises(SupervisionBug, match="the steps of a child are wrong"):
            spawn.spawn(plan)


@pytest.mark.native
def test_a_thousand_spawns_leave_no_descriptor_and_no_memory() -> None:
    """What one start takes it gives back: descriptors exactly, memory to within noise."""
    plan: list[steps.Step] = [steps.CloneAgain(0, "process"), host_execute("/bin/true")]
    for _ in range(50):
        wait(spawn.spawn(plan))
    descriptors, mappings, resident = _usage()
    for _ in range(1000):
        wait(spawn.spawn(plan))
    now_descriptors, now_mappings, now_resident = _usage()
    assert now_descriptors == descriptors
    assert now_mappings <= mappings + 2
    assert now_resident - resident < 1024


def _usage() -> tuple[int, int, int]:
    status = _status(Path("/proc/self/status").read_text())
    mappings = len(Path("/proc/self/maps").read_text().splitlines())
    return len(os.listdir("/proc/self/fd")), mappings, int(status["VmRSS"].split()[0])
