"""Mapped clones: ids as the container has them, attributes added, nothing attached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs.mapped import clone_mapped

pytestmark = pytest.mark.root


def test_ids_and_attributes_come_together(image: Path, sandbox: Sandbox, ids: IdRange) -> None:
    """One clone is both mapped and read-only."""
    fd = clone_mapped(image, sandbox.user, mount.MOUNT_ATTR_RDONLY)
    try:
        seen = Path(f"/proc/self/fd/{fd}")
        assert seen.stat().st_uid == ids.first
        with pytest.raises(OSError, match="Read-only"):
            (seen / "new").touch()
    finally:
        os.close(fd)


def test_what_cannot_be_mapped_is_named_and_closed(sandbox: Sandbox) -> None:
    """The error has the path and a way out; the clone is gone."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="`/proc` does not support idmapped mounts") as refused:
        clone_mapped(Path("/proc"), sandbox.user)
    assert refused.value.hint is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_missing_is_the_kernels_word(tmp_path: Path, sandbox: Sandbox) -> None:
    """A path that is not there is no question of id maps."""
    with pytest.raises(KernelError, match="No such file"):
        clone_mapped(tmp_path / "none", sandbox.user)
