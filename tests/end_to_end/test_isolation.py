"""A container's walls, looked at from outside through /proc of its main process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import Console
from leaks import Snapshot

pytestmark = [pytest.mark.root, pytest.mark.native]

PODMANS_ELEVEN = 0x800405FB
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT


@pytest.fixture
def proc(console: Console, rootfs: Path) -> Iterator[Path]:
    """/proc of a running container's main process."""
    fleet = console.write(
        "walls.toml",
        f'[containers.box]\nimage = "{rootfs}"\ncommand = "sleep 1000"\ninit = false\n'
        'stop = { grace = "0s" }\nvolumes = ["tmpfs:/scratch:size=1M"]\n',
    )
    console.up(fleet)
    yield Path(f"/proc/{console.rows(fleet)['box.1']['pid']}")
    console.down(fleet)


def status(proc: Path) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = (line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {key: value.strip() for key, value in lines}


def test_root_inside_is_nobody_outside(proc: Path) -> None:
    """Ids 0 to 65535 are a private range, far from every user of this machine."""
    [(inside, outside, count)] = [
        tuple(map(int, line.split())) for line in (proc / "uid_map").read_text().splitlines()
    ]
    assert (inside, count) == (0, 65536)
    assert outside >= 1 << 16
    assert status(proc)["Uid"].split() == [str(outside)] * 4
    assert (proc / "gid_map").read_text() == (proc / "uid_map").read_text()


def test_powers_are_few_and_cannot_grow(proc: Path) -> None:
    """At most Podman's eleven capabilities, none inherited, no new privileges, nothing open."""
    facts = status(proc)
    assert int(facts["CapBnd"], 16) & ~PODMANS_ELEVEN == 0
    assert int(facts["CapEff"], 16) & ~PODMANS_ELEVEN == 0
    assert (int(facts["CapInh"], 16), int(facts["CapAmb"], 16)) == (0, 0)
    assert facts["NoNewPrivs"] == "1"
    assert sorted(os.listdir(proc / "fd")) == ["0", "1", "2"]


def test_every_namespace_is_its_own(proc: Path) -> None:
    """None of the seven namespaces is this process's."""
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        assert os.readlink(proc / "ns" / kind) != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_mounts_are_the_containers_alone(proc: Path, rootfs: Path) -> None:
    """No mount of the host is left inside, and none of the container's is seen outside."""
    lines = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    targets = [fields[4] for fields in lines]
    assert targets[0] == "/"
    for target in ("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/scratch"):
        assert target in targets
    assert not any(str(rootfs) in target or target.startswith("/home") for target in targets)
    sysfs = next(fields for fields in lines if fields[4] == "/sys")
    assert "ro" in sysfs[5].split(",")
    outside = Path("/proc/self/mountinfo").read_text()
    assert "/scratch" not in outside


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi"])
def test_dangerous_corners_of_proc_are_masked(proc: Path, path: str) -> None:
    """A masked file is empty, and a masked directory has nothing in it."""
    seen = proc / "root" / path.lstrip("/")
    if not Path(path).exists():
        assert not seen.exists()
    elif seen.is_dir():
        assert os.listdir(seen) == []
    else:
        assert seen.read_bytes() == b""


def test_system_settings_cannot_be_written_from_inside(console: Console, rootfs: Path) -> None:
    """/proc/sys, /sys and /proc/sysrq-trigger refuse; so do mounting and making devices."""
    tries = [
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "mkdir /sys/fs/cgroup/escape",
        "mount -t tmpfs none /tmp",
        "mknod /tmp/disk b 8 0",
        "hostname other",
    ]
    script = "; ".join(f"( {command} ) 2>/dev/null && echo '{command}'" for command in tries)
    said = console.anchor("run", "-i", rootfs, "sh", "-c", f"{script}; true")
    assert (said.code, said.out) == (0, ""), said


def test_a_running_fleet_adds_no_mount_to_the_host(console: Console, proc: Path) -> None:
    """While it runs, this machine's own mount table is as it was."""
    mounts = {thing for thing in Snapshot.take().things if thing.startswith("mount")}
    assert not any(str(console.data_dir) in thing or "overlay" in thing for thing in mounts - HOST)


HOST = {thing for thing in Snapshot.take().things if thing.startswith("mount")}
