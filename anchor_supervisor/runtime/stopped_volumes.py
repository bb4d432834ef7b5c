"""The volumes of a container that does not run, put where it will have them.

What cannot be reached is covered by an empty read-only place, so that nothing is ever written
beneath a volume, where the container would not see it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import Propagation, Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs import volumes

_PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC


def attach_volumes(
    root: int,
    context: RootContext,
    user_namespace: int | None,
    complain: Callable[[str], None],
    stack: ExitStack,
) -> None:
    """Attach every volume beneath `root`, which is attached itself, the shallow ones first."""
    declared = [volume_of(fields) for fields in context["volumes"]]
    for volume in sorted(declared, key=lambda one: one.target.count("/")):
        try:
            place = mount.open_beneath(root, volume.target.lstrip("/"), _PATH_FLAGS)
        except OSError:
            continue  # the container has never got so far as to have it
        stack.callback(os.close, place)
        opened = _open(volume, context, user_namespace, complain)
        if opened is None:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                continue
            opened = _nothing()
        try:
            mount.attach(opened, place)
        finally:
            os.close(opened)


def volume_of(fields: Mapping[str, Any]) -> Volume:
    """Put a volume together again; see `root_facts`."""
    kind, propagation = VolumeKind(fields["kind"]), Propagation(fields["propagation"])
    return Volume(**{**fields, "kind": kind, "propagation": propagation})


def _open(
    volume: Volume,
    context: RootContext,
    user_namespace: int | None,
    complain: Callable[[str], None],
) -> int | None:
    """Open what the volume shows; None for one whose content ended with the run.

    None is made: one made here would be empty, and would never get what the image has for it.
    """
    try:
        return volumes.prepare(
            volume,
            data=places.data_dir(),
            fleet=context["fleet"],
            user_namespace=user_namespace,
            writable=Path(context["writable"]),
            make=False,
        ).fd
    except (AnchorError, OSError) as error:
        complain(f"the volume on `{volume.target}` cannot be reached: {error}")
        return None


def _nothing() -> int:
    attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV
    return mount.new_filesystem("tmpfs", (("size", "4096"), ("mode", "555")), attributes)
