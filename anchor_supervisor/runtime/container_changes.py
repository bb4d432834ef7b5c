"""What a container of a running fleet has changed, read where the supervisor keeps it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import AnchorError, KernelError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.images.changes import Change, changes
from anchor_supervisor.rootfs import strategies
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.runtime.container_root import context_layers

WRITTEN: Final = {
    RootStrategy.OVERLAY: "upper",
    RootStrategy.COPY: "root",
    RootStrategy.REFLINK: "root",
}
"""The directory beneath the writable one that has what the container wrote; see `strategies`."""


def container_changes(context: RootContext) -> list[Change]:
    """Compare, while the container goes on. Volumes are no part of it, nor what anchor mounts."""
    with ExitStack() as opened:
        tree = open_written(context)
        if tree is None:
            return []
        opened.callback(os.close, tree)
        image = strategies.merged(context_layers(context))
        opened.callback(os.close, image)
        upper = is_upper(context)
        try:
            return changes(
                tree,
                image,
                upper=upper,
                first_id=context["first_id"] if upper else 0,
                own=map(os.fsencode, context["mount_points"]),
            )
        except OSError as error:
            if isinstance(error, AnchorError):
                raise
            # A disk that cannot be read, a depth that takes more descriptors than we may have.
            raise KernelError(error.errno or 0, "compare", context["name"]) from error


def is_upper(context: RootContext) -> bool:
    """Whether what it wrote is kept apart from the image, owned by this machine's ids."""
    return context["strategy"] == RootStrategy.OVERLAY


def open_written(context: RootContext) -> int | None:
    """Open the directory with what the container wrote; None where there is nothing.

    Whoever can reach it is root on this machine: only what is beneath it is hostile.
    """
    name = WRITTEN.get(RootStrategy(context["strategy"]))
    if name is None:
        return None
    path = Path(context["writable"]) / name
    try:
        return os.open(path, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(error.errno or 0, "open", str(path)) from error
