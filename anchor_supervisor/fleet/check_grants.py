"""Secrets and configs in a container: each at a place of its own, for a user that exists."""

from __future__ import annotations

from collections.abc import Iterator

from anchor_supervisor.fleet.check_volumes import is_the_kernels
from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.grants import TABLES
from anchor_supervisor.fleet.model import Container, Grant, UserNamespace
from anchor_supervisor.fleet.users import foreign_ids
from anchor_supervisor.fleet.values import clean
from anchor_supervisor.fleet.wording import show

Findings = Iterator[Finding]


def grant_findings(container: Container) -> Findings:
    """Yield every secret and config that could not be where, or whose, it should be."""
    yield from _targets(container)
    if container.user_namespace is UserNamespace.AUTO:
        for grant in container.grants:
            for message in foreign_ids(grant.owner or ""):
                hint = 'a smaller number, or `user_namespace = "host"`'
                yield _finding(container, grant, f"owner of `{grant.name}`: {message}", hint)


def _targets(container: Container) -> Findings:
    taken = {
        clean(volume.target): f"volumes[{index}]" for index, volume in enumerate(container.volumes)
    }
    files = {clean(grant.target): grant for grant in container.grants}
    for grant in container.grants:
        target = clean(grant.target)
        shown = f"target {show(grant.target)} of `{grant.name}`"
        around = next((place for place in _around(target) if place in files), None)
        if ".." in grant.target.split("/"):
            yield _finding(container, grant, f"{shown} has `..` in it", f"`{target}`")
        elif target == "/":
            yield _finding(container, grant, f"{shown} is the root itself")
        elif is_the_kernels(target):
            message = f"{shown} is the kernel's, not a place for files"
            yield _finding(container, grant, message)
        elif target in taken:
            message = f"{shown} is taken by `{taken[target]}`"
            yield _finding(container, grant, message, "give one of the two another target")
        elif around is not None:
            yield _finding(container, grant, f"{shown} is inside `{around}`, which is a file")
        taken.setdefault(target, grant.name)
    for index, volume in enumerate(container.volumes):
        around = next((place for place in _around(clean(volume.target)) if place in files), None)
        if around is not None:
            message = f"target {show(volume.target)} is inside `{around}`, which is a file"
            path = path_of("containers", container.name, "volumes")
            yield Finding(f"{path}[{index}]", message, because=(path,))


def _around(target: str) -> Iterator[str]:
    """Yield the directories that hold this path, from the inside out, without the root."""
    while target := target.rpartition("/")[0]:
        yield target


def _finding(container: Container, grant: Grant, message: str, hint: str | None = None) -> Finding:
    key = path_of("containers", container.name, TABLES[grant.kind])
    volumes = path_of("containers", container.name, "volumes")
    return Finding(key, message, hint, because=(key, volumes))
