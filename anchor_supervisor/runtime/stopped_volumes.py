"""The volumes of a container that does not run, put where it will have them.

What cannot be reached is covered by an empty read-only place, so that nothing is ever written
beneath a volume, where the container would not see it.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog

from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.rootfs.mapped import clone_mapped

log = structlog.get_logger("volume")

_PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC


def attach_volumes(
    root: int, context: RootContext, user_namespace: int | None, stack: ExitStack
) -> None:
    """Attach every volume beneath `root`, which is attached itself, the shallow ones first."""
    volumes = sorted(context["volumes"], key=lambda volume: volume[1].count("/"))
    for kind, target, source, read_only in volumes:
        try:
            place = mount.open_beneath(root, target.lstrip("/"), _PATH_FLAGS)
        except OSError:
            continue  # the container has never got so far as to have it
        stack.callback(os.close, place)
        try:
            volume = _open(kind, source, read_only, user_namespace)
        except (AnchorError, OSError) as error:
            log.warning("volume cannot be reached", target=target, reason=str(error))
            volume = None
        if volume is None and not stat.S_ISDIR(os.fstat(place).st_mode):
            continue
        mounted = _nothing() if volume is None else volume
        try:
            mount.attach(mounted, place)
        finally:
            os.close(mounted)


def _open(kind: str, source: str | None, read_only: bool, user_namespace: int | None) -> int | None:
    """Open what the volume shows; None for one whose content ended with the run."""
    if source is None or kind == VolumeKind.TMPFS:
        return None
    attributes = mount.MOUNT_ATTR_NODEV | (mount.MOUNT_ATTR_RDONLY if read_only else 0)
    return clone_mapped(Path(source), user_namespace, attributes, recursive=Path(source).is_dir())


def _nothing() -> int:
    attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV
    return mount.new_filesystem("tmpfs", (("size", "4096"), ("mode", "555")), attributes)
