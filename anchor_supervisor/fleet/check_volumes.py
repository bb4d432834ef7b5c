"""Volumes: each named one is declared, each target is a place of its own and not the kernel's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, Fleet, UserNamespace, VolumeKind
from anchor_supervisor.fleet.values import clean
from anchor_supervisor.fleet.wording import did_you_mean, show

KERNEL_PLACES: Final = ("/proc", "/sys", "/dev")
"""A volume there would stand in for the kernel's own files (CVE-2019-16884, CVE-2019-19921)."""

EXCEPTIONS: Final = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - a target, not a place to write

MAPPED_IDS: Final = 65536  # how many ids a container with its own user namespace has


def volume_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield every volume that is unknown, doubled, or where none may be."""
    for container in fleet.containers.values():
        yield from _sources(fleet, container)
        yield from _targets(container)
        yield from _ids(container)


def _sources(fleet: Fleet, container: Container) -> Iterator[Finding]:
    for index, volume in enumerate(container.volumes):
        if volume.kind is VolumeKind.NAMED and volume.source not in fleet.volumes:
            name = volume.source or ""
            near = did_you_mean(name, sorted(fleet.volumes)) or f"declare it: `[volumes.{name}]`"
            yield _finding(container, index, f"there is no volume {show(name)}", near)


def _targets(container: Container) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, volume in enumerate(container.volumes):
        target = clean(volume.target)
        shown = show(volume.target)
        if not volume.target.startswith("/"):
            message = f"target {shown} is not an absolute path"
            yield _finding(container, index, message)
        elif ".." in volume.target.split("/"):
            # Through a symbolic link of the image it would not lead where it seems to.
            yield _finding(container, index, f"target {shown} has `..` in it", f"`{target}`")
        elif target == "/":
            yield _finding(container, index, "the root itself cannot be a target", "see `image`")
        elif target not in EXCEPTIONS and is_the_kernels(target):
            yield _finding(
                container, index, f"target {shown} is the kernel's, not a place for files"
            )
        elif target in seen:
            message = f"target {shown} is taken by `volumes[{seen[target]}]`"
            yield _finding(container, index, message)
        seen.setdefault(target, index)


def is_the_kernels(target: str) -> bool:
    """Whether a clean path is at or beneath what only the kernel fills."""
    return any(target == place or target.startswith(f"{place}/") for place in KERNEL_PLACES)


def _ids(container: Container) -> Iterator[Finding]:
    """A tmpfs cannot belong to an id that its container does not have (EINVAL at its start)."""
    if container.user_namespace is not UserNamespace.AUTO:
        return
    for index, volume in enumerate(container.volumes):
        for key, number in (("uid", volume.uid), ("gid", volume.gid)):
            if number is not None and number >= MAPPED_IDS:
                message = f"`{key}={number}` is not among the container's ids"
                hint = f'less than {MAPPED_IDS}, or `user_namespace = "host"`'
                yield _finding(container, index, message, hint)


def _finding(container: Container, index: int, message: str, hint: str | None = None) -> Finding:
    """Place a finding. A number counts what could be read, so the whole list has to be right."""
    path = path_of("containers", container.name, "volumes")
    return Finding(f"{path}[{index}]", message, hint, because=(path,))
