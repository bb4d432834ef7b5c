"""A corner of the machine that other people's programs are kept in, and that is empty afterwards.

They have a network namespace of their own, so that no bridge, no rule and no forwarding of theirs
is the machine's; in this process's mount namespace an empty directory lies over each place where
they would leave something. Their names and control groups begin with one token. At the end, on
every path, whatever of that is still there is ended and removed, and nothing else.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, final

from attrs import field, frozen

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.libc import system_call
from anchor_supervisor.kernel.mount import mount_on, private_mount_namespace, unmount
from anchor_supervisor.kernel.namespaces import CLONE_NEWNET
from anchor_supervisor.network.links import LOOPBACK_INDEX, bring_up
from anchor_supervisor.network.netlink import Netlink
from anchor_supervisor.observability.places import run_dir
from measure import end_fleets, uninterrupted

HIDDEN: Final = (
    *("/dev/shm", "/etc/cni/net.d", "/etc/containers/networks", "/etc/docker", "/opt/containerd"),
    *("/run/containerd", "/run/containers", "/run/crun", "/run/docker", "/run/libpod"),
    *("/run/lock/lxc", "/run/lxc", "/run/netns", "/run/runc", "/var/lib/cni"),
    *("/var/lib/containerd", "/var/lib/containers", "/var/lib/lxc"),
)
"""Where engines write whatever they are told."""

PARENTS: Final = ("libpod_parent/conmon", "libpod_parent")
"""Groups that an engine makes at the top under names of its own, and keeps when they are empty."""

INSIDE: Final = "inside"

PATIENCE: Final = 10.0
"""Seconds for killed processes to go."""


@final
@frozen
class Corner:
    """`token` begins every name, `directory` is on disk, `run` in memory as /run is.

    `hierarchies` are the mount points of control groups; `mixed` where there are both versions.
    `tidy` is closed at the end, while everything is still in its place.
    """

    token: str
    directory: Path
    run: Path
    hierarchies: tuple[Path, ...]
    unified: Path | None
    mixed: bool
    tidy: ExitStack = field(factory=ExitStack)

    @property
    def group(self) -> str:
        """The control group of everything, from the top of each hierarchy."""
        return f"/{self.token}"

    def hide_unified(self) -> None:
        """Give the calling thread a mount namespace of its own, in which cgroups are version 1.

        Some runtimes refuse a machine that has both. Does nothing on one that has not.
        """
        if self.mixed:
            private_mount_namespace()
            _cover(str(self.unified))

    @property
    def limits_pids(self) -> bool:
        """Whether a group can be told how many processes it may have."""
        if self.unified is None or self.mixed:
            return any(mount.name == "pids" for mount in self.hierarchies)
        return "pids" in Cgroup(self.unified).controllers()

    @contextmanager
    def inside_group(self) -> Iterator[None]:
        """Let this process and what it starts be in a group of its own; and back afterwards.

        For a program that makes groups beneath whatever group it was started in. One without
        controllers for those beneath: such a group takes no process (cgroups(7)).
        """
        homes = {
            mount: home
            for mount in self.hierarchies
            if mount == self.unified or mount.name == "systemd"
            if (home := _own_group(mount)) is not None
        }
        try:
            for mount in homes:
                for group in (mount / self.token, mount / self.token / INSIDE):
                    Cgroup(group).create()
                _move_into(group)
            yield
        finally:
            for home in homes.values():
                _move_into(home)


@contextmanager
def corner(directory: Path) -> Iterator[Corner]:
    """Move this process into a corner, for good; `directory` is removed by whoever made it."""
    token = f"anchor-bench-{os.getpid()}"
    hierarchies, unified, mixed = control_groups(Path("/proc/self/mountinfo").read_text())
    place = Corner(token, directory, Path("/dev/shm", token), hierarchies, unified, mixed)
    kept = {mount / name for mount in hierarchies for name in PARENTS}
    kept = {group for group in kept if group.exists()}
    system_call("unshare", CLONE_NEWNET)
    with Netlink() as netlink:
        netlink.perform([bring_up(LOOPBACK_INDEX, "lo")])
    with ExitStack() as last:
        try:
            for hidden in HIDDEN:
                last.callback(_uncover, hidden, _make_place(Path(hidden)))
                _cover(hidden)
            for again in (place.run, run_dir()):  # ours is hidden as well, and was empty
                again.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield place
        finally:
            last.enter_context(uninterrupted())
            place.tidy.close()
            end_fleets(run_dir())
            _clear(place, kept)


def control_groups(mountinfo: str) -> tuple[tuple[Path, ...], Path | None, bool]:
    """Where control groups are mounted; which of them is version 2; whether there is a 1 too."""
    kinds: dict[Path, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if (kind := after.split()[0]) in {"cgroup", "cgroup2"}:
            kinds[Path(before.split()[4])] = kind
    unified = next((place for place, kind in kinds.items() if kind == "cgroup2"), None)
    return tuple(kinds), unified, unified is not None and "cgroup" in kinds.values()


def _clear(place: Corner, kept: set[Path]) -> None:
    """End and remove whatever is there; what stays all the same is said by who looks for it."""
    own = os.stat("/proc/self/ns/net").st_ino
    _until_none(lambda: [*_in_network(own), *_named(place.token, str(place.directory))])
    for mount in place.hierarchies:
        remove_group(Cgroup(mount / place.token))
        for group in (mount / name for name in PARENTS):
            if group not in kept:
                with suppress(OSError):  # not there, or somebody else's by now
                    group.rmdir()
    for point in reversed(mounted_beneath(place.directory, place.run)):
        with suppress(KernelError):
            unmount(point)


def _own_group(mount: Path) -> Path | None:
    """The group this process is in, beneath the mount point of a hierarchy."""
    key = f":name={mount.name}:" if mount.name == "systemd" else "::"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, found, group = line.partition(key)
        if found:
            return mount / group.lstrip("/")
    return None


def _move_into(group: Path) -> None:
    Cgroup(group).write("cgroup.procs", str(os.getpid()))


def remove_group(group: Cgroup) -> None:
    """Kill what is in the group and beneath it, and remove both; of either version.

    In version 1 a group that shows no process may still be busy with one that is going.
    """
    deadline = time.monotonic() + PATIENCE
    while group.exists():
        _until_none(lambda: _in_group(group))
        with suppress(KernelError):
            group.remove()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _in_group(group: Cgroup) -> Iterator[int]:
    for folder, _, _ in os.walk(group.path):
        yield from Cgroup(Path(folder)).processes()


def _until_none(find: Callable[[], Iterator[int] | Sequence[int]]) -> None:
    """Kill what is found until nothing is, for as long as killed processes may take."""
    deadline = time.monotonic() + PATIENCE
    while found := list(find()):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def processes() -> Iterator[int]:
    """Every other process that is alive; a child that ended and nobody waits for is not."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _in_network(namespace: int) -> Iterator[int]:
    for pid in processes():
        with suppress(OSError):  # it has just ended, or has ended and is not waited for
            if os.stat(f"/proc/{pid}/ns/net").st_ino == namespace:
                yield pid


def _named(*words: str) -> Iterator[int]:
    for pid in processes():
        if any(word in command_line(pid) for word in words):
            yield pid


def command_line(pid: int) -> str:
    """The words a process was started with, or calls itself; empty where it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace")


def mounted_beneath(*places: Path) -> list[str]:
    """The mount points of this process at and beneath these directories, in their order."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if any(Path(point).is_relative_to(one) for one in places)]


def _make_place(path: Path) -> list[Path]:
    """Make what is missing of a path; return what was made, deepest first."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    made: list[Path] = []
    with suppress(OSError):  # a file system that nobody can write to: no engine can either
        for one in reversed(missing):
            one.mkdir()
            made.insert(0, one)
    return made


def _cover(path: str) -> None:
    """Mount an empty file system over a directory, with its mode; in this namespace alone."""
    if not Path(path).exists():
        return
    mount_on(path, "tmpfs", f"mode={stat.S_IMODE(os.stat(path).st_mode):o}")


def _uncover(path: str, made: Sequence[Path]) -> None:
    with suppress(KernelError):
        unmount(path)
    for one in made:
        with suppress(OSError):  # somebody else has put something there meanwhile
            one.rmdir()
