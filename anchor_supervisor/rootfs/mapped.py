"""Clones of mounts as a container's user namespace sees them: where ids are mapped."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel import mount


def clone_mapped(
    source: Path | int,
    user_namespace: int | None,
    attributes: int = 0,
    *,
    recursive: bool = False,
    words: str | None = None,
) -> int:
    """Make a detached clone whose ids are seen through `user_namespace`; None leaves them alone.

    `words` name the source in errors. Raises HostError where a file system there cannot be
    idmapped, or is already (mount_setattr(2): EINVAL, EPERM), KernelError for anything else.
    """
    clone = mount.clone_tree(source, recursive=recursive)
    try:
        if attributes:
            mount.set_attributes(clone, attributes, recursive=recursive)
        if user_namespace is not None:
            _map_ids(clone, user_namespace, words or str(source), recursive=recursive)
    except BaseException:
        os.close(clone)
        raise
    return clone


def _map_ids(clone: int, user_namespace: int, words: str, *, recursive: bool) -> None:
    try:
        mount.set_attributes(clone, idmap=user_namespace, recursive=recursive)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        beneath = " or one mounted beneath it" if recursive else ""
        message = f"the file system of `{words}`{beneath} does not support idmapped mounts"
        raise HostError(
            message,
            hint='use ext4, xfs or btrfs, or set `user_namespace = "host"`',
        ) from error
