"""One container by itself: what it runs, and with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, ImageKind, ReactionKind, VolumeKind
from anchor_supervisor.fleet.units import format_size
from anchor_supervisor.fleet.wording import show

SMALLEST_MEMORY: Final = 64 * 1024  # bytes; below it not even the first page tables fit

Findings = Iterator[Finding]


def container_findings(container: Container) -> Findings:
    """Yield everything wrong with one container that no other part of the fleet changes."""
    yield from _command(container)
    yield from _working_directory(container)
    yield from _memory(container)
    yield from _on_change(container)


def _path(container: Container, *keys: str) -> str:
    return path_of("containers", container.name, *keys)


def _command(container: Container) -> Findings:
    words = (*(container.entrypoint or ()), *(container.command or ()))
    because = (_path(container, "entrypoint"), _path(container, "image"))
    if words and not words[0]:
        key = "entrypoint" if container.entrypoint else "command"
        yield Finding(_path(container, key), "the program's name is empty", because=because)
    elif not words and (container.complete or container.image.kind is not ImageKind.STORE):
        yield Finding(
            _path(container, "command"),
            f"nothing to run: image `{container.image.reference}` has no command of its own",
            'add `command = ["program"]`',
            because,
        )


def _working_directory(container: Container) -> Findings:
    path = container.working_dir
    if path is not None and not path.startswith("/"):
        yield Finding(_path(container, "working_dir"), f"{show(path)} is not an absolute path")


def _memory(container: Container) -> Findings:
    limits = container.limits
    for name, size in (("memory", limits.memory), ("memory_high", limits.memory_high)):
        if size is not None and size < SMALLEST_MEMORY:
            yield Finding(
                _path(container, "limits", name),
                f"`{format_size(size)}` is too little for any process",
                f"`{size}M` is {size} mebibytes" if 0 < size < 1024 else None,
            )
    if None not in (limits.memory, limits.memory_high) and (
        (limits.memory_high or 0) > (limits.memory or 0)
    ):
        yield Finding(
            _path(container, "limits", "memory_high"),
            f"`{format_size(limits.memory_high or 0)}` is above `memory`, "
            f"`{format_size(limits.memory or 0)}`, so it would never act",
            because=(_path(container, "limits", "memory"),),
        )


def _on_change(container: Container) -> Findings:
    """Only what is mounted from outside, and no named volume, is looked at for changes."""
    changeable = any(volume.kind is VolumeKind.BIND for volume in container.volumes)
    if container.on_change.kind is not ReactionKind.RESTART and not (
        changeable or container.grants
    ):
        yield Finding(
            _path(container, "on_change"),
            "the container has no files of this machine, secrets or configs that could change",
            "leave it out",
            tuple(_path(container, key) for key in ("volumes", "secrets", "configs")),
        )
