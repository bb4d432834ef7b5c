"""What this machine can do for us, each ability tried for real where that leaves nothing behind.

A check says what it found and, where it is not enough, the one-line remedy. It compares no
version numbers: kernels are patched, and containers lie about them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import _spawn, cgroup, mount, namespaces, spawn, steps
from anchor_supervisor.network.nftables import Nftables
from anchor_supervisor.observability import places

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

_LIMITS: Final = {
    "memory": "memory, memory_high, swap",
    "cpu": "cpus, cpu_weight",
    "pids": "pids",
    "cpuset": "cpuset",
    "io": "io_weight",
}
_ANY_IDS: Final = namespaces.IdRange(1 << 20)
_PIDFD_GET_INFO: Final = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info), linux/pidfd.h
_PIDFD_INFO_EXIT: Final = 1 << 3
_ENOUGH_FILES: Final = 4096
_ENOUGH_PIDS: Final = 32768


class Finding(NamedTuple):
    """One ability. `verdict` is ok, warn (we do without) or fail (we cannot run containers)."""

    name: str
    verdict: str
    found: str
    remedy: str | None = None


def findings() -> Iterator[Finding]:
    """Check everything; a check that cannot even be made has failed."""
    for check in CHECKS:
        try:
            yield check()
        except HostError as error:
            yield Finding(_name(check), FAIL, error.message, error.hint)
        except OSError as error:
            yield Finding(_name(check), FAIL, error.strerror or str(error))


def _name(check: Callable[[], Finding]) -> str:
    return check.__name__.removeprefix("_check_").replace("_", " ")


def _check_kernel() -> Finding:
    return Finding("kernel", OK, f"Linux {platform.release()} on {platform.machine()}")


def _check_root() -> Finding:
    uid = os.geteuid()
    if uid == 0:
        return Finding("root", OK, "uid 0")
    return Finding("root", FAIL, f"uid {uid}: containers are started by root", "run it with sudo")


def _check_cgroups() -> Finding:
    place = cgroup.find_mount()
    group = cgroup.own_group(place)
    for file in ("cgroup.kill", "cgroup.freeze"):
        if group.path != place and not group.has(file):
            return Finding("cgroups", FAIL, f"no {file}", "boot Linux 5.14 or newer")
    return Finding("cgroups", OK, f"cgroup2 at {place}")


def _check_limits() -> Finding:
    there = cgroup.Cgroup(cgroup.find_mount()).controllers()
    lacking = [keys for controller, keys in _LIMITS.items() if controller not in there]
    if not lacking:
        return Finding("limits", OK, "every limit can be enforced")
    return Finding(
        "limits",
        WARN,
        f"cannot be enforced: {', '.join(lacking)}",
        "boot with `systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all`,"
        ' or write `limits = "best-effort"`',
    )


def _check_pressure() -> Finding:
    """What `anchor events` can tell of memory and processors; a run is the same without it."""
    there = cgroup.Cgroup(cgroup.find_mount()).controllers()
    lacking = []
    if "memory" not in there:
        lacking.append("kills for want of memory (`oom`), `memory-high`")
    stalls = _keeps_stalls()
    if not stalls or "memory" not in there:
        lacking.append("`pressure`")
    if not stalls or "cpu" not in there:
        lacking.append("`throttled`")
    if not lacking:
        return Finding("pressure", OK, "kills, pressure and throttling are told with their figures")
    found = f"cannot be told: {', '.join(lacking)}"
    if stalls:
        return Finding("pressure", WARN, found, "boot with `cgroup_no_v1=memory,cpu`")
    return Finding("pressure", WARN, found, "boot with `psi=1` (a kernel with CONFIG_PSI)")


def _keeps_stalls() -> bool:
    """Whether the kernel keeps pressure stall information (psi.rst)."""
    try:
        return bool(Path("/proc/pressure/memory").read_text())
    except OSError:  # not built in, or switched off (EOPNOTSUPP)
        return False


def _check_namespaces() -> Finding:
    try:
        namespaces.create_sandbox(_ANY_IDS, network=True).close()
    except KernelError as error:
        remedy = "sysctl -w user.max_user_namespaces=65536 user.max_net_namespaces=65536"
        if error.errno == errno.EPERM:
            remedy = "run it as root, outside of another container"
        return Finding("namespaces", FAIL, error.message, remedy)
    return Finding("namespaces", OK, "user, network, ipc and uts namespaces were made")


def _check_processes() -> Finding:
    try:
        spawn.spawn([steps.Execute(("/",), ("nothing",), ())])  # a directory: all but the last step
    except spawn.SpawnError as error:
        if error.step_index is None:
            remedy = "run it where no seccomp filter refuses clone3 or pidfd_getfd"
            return Finding("processes", FAIL, error.message, remedy)
    return Finding("processes", OK, "processes begin with the descriptors that are meant for them")


def _check_mounts() -> Finding:
    os.close(mount.new_filesystem("tmpfs"))
    return Finding("mounts", OK, "roots are assembled detached (fsopen, fsmount)")


def _check_overlay() -> Finding:
    try:
        os.close(mount.new_filesystem("overlay"))
    except KernelError as error:
        # Without layers it cannot be mounted; where there is no overlay at all it is ENODEV.
        if error.errno == errno.ENODEV:
            remedy = 'modprobe overlay, or write `root = "copy"`'
            return Finding("overlay", WARN, "this kernel has no overlayfs", remedy)
        if error.errno == errno.EPERM:
            raise
    return Finding("overlay", OK, "copy-on-write roots by overlayfs")


def _check_idmapped_mounts() -> Finding:
    place = places.data_dir()
    while not place.exists():
        place = place.parent
    sandbox = namespaces.create_sandbox(_ANY_IDS, network=False)
    try:
        os.close(mount.clone_tree(place, idmap=sandbox.user))
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        remedy = "set ANCHOR_DATA_DIR to a directory on ext4, xfs, btrfs or tmpfs"
        return Finding("idmapped mounts", FAIL, f"`{place}` cannot be idmapped", remedy)
    finally:
        sandbox.close()
    return Finding("idmapped mounts", OK, f"`{place}` can be idmapped")


def _check_firewall() -> Finding:
    with Nftables() as nftables:
        nftables.run("list tables inet", "list the nft tables")
    return Finding("firewall", OK, "nft tables through libnftables")


def _check_forwarding() -> Finding:
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    if switch.read_text().strip() != "0":
        return Finding("forwarding", OK, "net.ipv4.ip_forward is on")
    if os.access(switch, os.W_OK):
        return Finding(
            "forwarding", OK, "net.ipv4.ip_forward is off; a fleet's network turns it on"
        )
    found = "net.ipv4.ip_forward is off and cannot be turned on: containers do not reach the world"
    return Finding("forwarding", WARN, found, "sysctl -w net.ipv4.ip_forward=1")


def _check_open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= _ENOUGH_FILES
    found = f"at most {hard} open files: about {hard // 10} containers"
    remedy = None if enough else "ulimit -Hn 65536 (LimitNOFILE= in a unit)"
    return Finding("open files", OK if enough else WARN, found, remedy)


def _check_pids() -> Finding:
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    remedy = None if most >= _ENOUGH_PIDS else "sysctl -w kernel.pid_max=4194304"
    return Finding("pids", WARN if remedy else OK, f"kernel.pid_max is {most}", remedy)


def _check_inotify() -> Finding:
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    remedy = None if most >= 128 else "sysctl -w fs.inotify.max_user_instances=1024"
    found = f"fs.inotify.max_user_instances is {most}"
    return Finding("inotify", WARN if remedy else OK, found, remedy)


def _check_adoption() -> Finding:
    with _ended_process() as pidfd:
        asked = bytearray(struct.pack("Q56x", _PIDFD_INFO_EXIT))
        try:
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, asked)
            known = bool(struct.unpack_from("Q", asked)[0] & _PIDFD_INFO_EXIT)
        except OSError:
            known = False
    if known:
        return Finding("adoption", OK, "a new supervisor learns how adopted containers end")
    found = "a container that was adopted by a new supervisor ends with an unknown exit code"
    return Finding("adoption", WARN, found, "boot Linux 6.15 or newer")


@contextmanager
def _ended_process() -> Iterator[int]:
    """Give the pidfd of a child that has ended and was reaped."""
    try:
        pidfd = _spawn.ended_child()
    except _spawn.StepFailed as failed:
        raise KernelError(failed.args[0], "make a child") from None
    try:
        yield pidfd
    finally:
        os.close(pidfd)


CHECKS: Final[tuple[Callable[[], Finding], ...]] = (
    _check_kernel,
    _check_root,
    _check_cgroups,
    _check_limits,
    _check_pressure,
    _check_namespaces,
    _check_processes,
    _check_mounts,
    _check_overlay,
    _check_idmapped_mounts,
    _check_firewall,
    _check_forwarding,
    _check_open_files,
    _check_pids,
    _check_inotify,
    _check_adoption,
)
