"""What a container sees, from the machine's view to its own, as steps for its first process.

Pure: descriptors are only numbers here, and nothing is opened. The order is the law of this file:

1. procfs and sysfs are made while the machine's own are still in sight; the kernel asks for that
   (mount_namespaces(7), "Restrictions on mount namespaces").
2. The prepared root becomes the only root; from then on no path leads out.
3. /proc, /sys and /dev are mounted, settings written and paths masked before anything that the
   image or the user chose is mounted: a volume can hide what we made, never bring back what we hid.
4. Volumes, generated files, secrets and configs, the shallow before the deep.
5. The root turns read-only last, since mount points may have to be made in it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Final, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.model import EMPTY, Grant, Volume, VolumeKind
from anchor_supervisor.kernel.mount import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
)
from anchor_supervisor.kernel.steps import (
    SLOTS,
    Attach,
    Descriptor,
    EnterRoot,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    OpenFilesystem,
    Slot,
    Step,
)
from anchor_supervisor.rootfs.sysctls import sysctl_steps
from anchor_supervisor.values import field, frozen

_INERT: Final = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC

PROC: Final = Slot(0)
SYSFS: Final = Slot(1)
DEV: Final = Slot(2)
DEVPTS: Final = Slot(3)
SHM: Final = Slot(4)
MQUEUE: Final = Slot(5)
CGROUP: Final = Slot(6)
EMPTY_DIRECTORY: Final = Slot(7)
FIRST_FREE_SLOT: Final = 8

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)

# What docker and podman hide: it tells of, or reaches, the machine and its other tenants.
MASKED: Final = (
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY: Final = (
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
RESERVED: Final = ("/proc", "/sys", "/dev")
DEV_EXCEPTIONS: Final = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - a mount point, not a place to write


@final
@frozen
class MountedVolume:
    """A volume and its prepared, detached mount, as `OpenVolume` has it."""

    volume: Volume
    fd: Descriptor | None = None
    directory: bool = True


@final
@frozen
class MountedGrant:
    """A secret or a config, and its file as a detached mount, as `OpenGrant` has it."""

    grant: Grant
    fd: Descriptor


@final
@frozen
class View:
    """All that was prepared for one start. The descriptors are detached mounts the caller owns.

    `devices` has one of each name in DEVICES, `null` a further one of /dev/null, for masks. `etc`
    maps targets such as `/etc/hosts` to theirs. `sysfs` is the machine's own /sys, for a container
    on the machine's network; None for one that has a network namespace. `hidden` are paths of the
    root to mask in any case: with image `host` the supervisor's own directories. `processors` is
    how many the machine may have (their thermal counters are masked).
    """

    root: Descriptor
    null: Descriptor
    devices: Mapping[str, Descriptor]
    volumes: tuple[MountedVolume, ...] = ()
    etc: Mapping[str, Descriptor] = field(factory=dict)
    grants: tuple[MountedGrant, ...] = ()
    sysfs: Descriptor | None = None
    read_only: bool = False
    masked_paths: bool = True
    hidden: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = EMPTY
    processors: int = 1


def root_steps(view: View) -> tuple[Step, ...]:
    """Every step from the machine's mounts to the container's.

    Raises FleetError for a volume target or a setting that a container may not have.
    """
    own_network = view.sysfs is None
    steps: list[Step] = [OpenFilesystem(PROC, "proc", (), _INERT)]
    if own_network:
        steps.append(OpenFilesystem(SYSFS, "sysfs", (), _INERT | MOUNT_ATTR_RDONLY))
    steps += [
        EnterRoot(view.root),
        Attach(PROC, "/proc", "proc", strict=True),
        *sysctl_steps(PROC, view.sysctls, own_network=own_network),
        Attach(_sysfs(view), "/sys", "sysfs", strict=True),
        OpenFilesystem(CGROUP, "cgroup2", (), _INERT | MOUNT_ATTR_RDONLY),
        Attach(CGROUP, "/sys/fs/cgroup", "the container's own cgroup, read-only", strict=True),
        *_dev_steps(view),
        *_mask_steps(view),
        *_chosen_steps(view),
    ]
    if view.read_only:
        steps.append(MakeReadOnly("/", remount=True))
    return tuple(steps)


def mount_points(steps: Iterable[Step]) -> tuple[tuple[str, bool], ...]:
    """List the targets, each with `is it a directory`, that the root itself must have or be given.

    What lies beneath an earlier target is made there, not in the root.
    """
    found: dict[str, bool] = {}
    for step in steps:
        if isinstance(step, Attach) and not any(_beneath(step.target, above) for above in found):
            found[step.target] = step.directory
    return tuple(found.items())


def target_problem(target: str) -> str | None:
    """Say why nothing of the user's may be mounted on `target`; None where it may."""
    if not target.startswith("/") or "\0" in target or ".." in target.split("/"):
        return f"`{target}` is not an absolute path without `..`"
    clean = _clean(target)
    if clean == "/":
        return "nothing can take the place of the whole root"
    for reserved in RESERVED:
        if _beneath(clean, reserved) and clean not in DEV_EXCEPTIONS:
            return f"`{target}` lies in `{reserved}`, which is the supervisor's to fill"
    return None


def _clean(target: str) -> str:
    """Normalise; POSIX lets a path start with two slashes, which normpath keeps."""
    return "/" + posixpath.normpath(target).lstrip("/")


def _beneath(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


def _sysfs(view: View) -> Descriptor:
    """Only the owner of the network namespace may make a sysfs; others see the machine's."""
    return SYSFS if view.sysfs is None else view.sysfs


def _dev_steps(view: View) -> tuple[Step, ...]:
    """/dev is a small tmpfs of our own: nothing of the image's /dev is ever opened or trusted."""
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME
    steps: list[Step] = [
        OpenFilesystem(DEV, "tmpfs", (("mode", "755"), ("size", "65536k")), attributes),
        Attach(DEV, "/dev", "a new tmpfs", strict=True),
    ]
    for name in DEVICES:
        target = f"/dev/{name}"
        words = f"the machine's `{target}`"
        steps.append(Attach(view.devices[name], target, words, directory=False, strict=True))
    pts = (("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5"))
    steps += [
        OpenFilesystem(DEVPTS, "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
        Attach(DEVPTS, "/dev/pts", "new pseudo-terminals", strict=True),
        OpenFilesystem(SHM, "tmpfs", (("mode", "1777"), ("size", "64M")), _INERT),
        Attach(SHM, "/dev/shm", "a new tmpfs of 64M", strict=True),  # noqa: S108 - inside
        OpenFilesystem(MQUEUE, "mqueue", (), _INERT),
        Attach(MQUEUE, "/dev/mqueue", "the container's message queues", strict=True),
    ]
    steps += [MakeSymlink(f"/dev/{name}", leads_to) for name, leads_to in LINKS]
    return tuple(steps)


def _mask_steps(view: View) -> tuple[Step, ...]:
    """Hide and protect, by one shared empty tmpfs: one a mask would cost a shrinker each."""
    thermal = tuple(
        f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(view.processors)
    )
    hidden = view.hidden + (MASKED + thermal if view.masked_paths else ())
    steps: list[Step] = []
    if hidden:
        empty = _INERT | MOUNT_ATTR_RDONLY
        options = (("mode", "555"), ("size", "0"), ("nr_inodes", "1"))
        steps.append(OpenFilesystem(EMPTY_DIRECTORY, "tmpfs", options, empty))
        steps += [Mask(path, EMPTY_DIRECTORY, view.null) for path in hidden]
    if view.masked_paths:
        steps += [MakeReadOnly(path) for path in READ_ONLY]
    return tuple(steps)


def _chosen_steps(view: View) -> tuple[Step, ...]:
    """All that is mounted where the file says, parents first.

    Of two on one path a volume wins over a generated file, and a secret or config over both.
    """
    placed: dict[str, tuple[Step, ...]] = {
        target: (Attach(fd, target, "a generated file", directory=False),)
        for target, fd in view.etc.items()
    }
    slots = iter(range(FIRST_FREE_SLOT, SLOTS))
    for mounted in view.volumes:
        volume = mounted.volume
        target = _allowed(volume.target, "volumes")
        if mounted.fd is not None:
            words = _volume_words(volume)
            placed[target] = (Attach(mounted.fd, target, words, mounted.directory),)
            continue
        number = next(slots, None)
        if number is None:
            most = SLOTS - FIRST_FREE_SLOT
            raise FleetError([Problem(f"more than {most} tmpfs volumes", key="volumes")])
        placed[target] = _tmpfs_steps(volume, target, Slot(number))
    for granted in view.grants:
        target = _allowed(granted.grant.target, f"{granted.grant.kind}s")
        words = _grant_words(granted.grant)
        placed[target] = (Attach(granted.fd, target, words, directory=False),)
    by_depth = sorted(placed, key=lambda target: (target.count("/"), target))
    return tuple(step for target in by_depth for step in placed[target])


def _allowed(target: str, key: str) -> str:
    """Return the normalised target, where something of the user's may be mounted on it."""
    refused = target_problem(target)
    if refused is not None:
        raise FleetError([Problem(refused, key=key)])
    return _clean(target)


def _grant_words(grant: Grant) -> str:
    """Name it, and who may read it; never what is in it."""
    owner = "" if grant.owner is None else f" of `{grant.owner}`"
    return f"{grant.kind} `{grant.name}`{owner} with mode {grant.mode:04o}"


def _volume_words(volume: Volume) -> str:
    words = "the container's own volume" if volume.source is None else f"volume `{volume.source}`"
    if volume.subpath is not None:
        words += f", from `{volume.subpath}` down"
    flags = (("read-only", volume.read_only), ("noexec", volume.noexec), ("nosuid", volume.nosuid))
    return words + "".join(f", {flag}" for flag, is_set in flags if is_set)


def _tmpfs_steps(volume: Volume, target: str, slot: Slot) -> tuple[Step, ...]:
    """Make a tmpfs volume: as /tmp is, world-writable and sticky, unless a mode is given.

    Ids are the container's: the file system is made in its user namespace.
    """
    assert volume.kind is VolumeKind.TMPFS
    mode = 0o1777 if volume.mode is None else volume.mode
    options: tuple[tuple[str, str | None], ...] = (("mode", f"{mode:o}"),)
    for key, number in (("size", volume.size), ("uid", volume.uid), ("gid", volume.gid)):
        if number is not None:
            options += ((key, str(number)),)
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    if volume.read_only:
        attributes |= MOUNT_ATTR_RDONLY
    if volume.noexec:
        attributes |= MOUNT_ATTR_NOEXEC
    return (
        OpenFilesystem(slot, "tmpfs", options, attributes),
        Attach(slot, target, "a tmpfs volume"),
    )
