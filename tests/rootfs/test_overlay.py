"""The older kernels' way to an overlay, tried on whatever kernel runs the test."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs import overlay
from anchor_supervisor.rootfs.overlay import assemble_overlay
from anchor_supervisor.rootfs.removal import remove_writable

pytestmark = pytest.mark.root


def refuse(_lowers: Sequence[int], _upper: int, _work: int) -> int:
    raise KernelError(errno.EINVAL, "fsconfig", "lowerdir+")


def test_layers_are_attached_for_a_moment_where_descriptors_are_not_taken(
    image: Path, data_dir: Path, ids: IdRange, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path the same root comes out, and no mount stays attached."""
    monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    before = Path("/proc/self/mountinfo").read_text()
    top = data_dir / "top"
    top.mkdir()
    (top / "owned").write_text("from the top")
    for attempt in range(2):
        fd = assemble_overlay([top, image], data_dir / "instance", ids, sandbox.user)
        try:
            assert Path("/proc/self/mountinfo").read_text() == before
            root = Path(f"/proc/self/fd/{fd}")
            assert (root / "owned").read_text() == "from the top"
            assert (root / "program").stat().st_uid == ids.first
            assert (root / "run").exists() == bool(attempt)
            (root / "run").touch()
        finally:
            os.close(fd)
    remove_writable(data_dir / "instance")


def test_a_place_that_cannot_be_an_upper_layer_is_named(
    image: Path, ids: IdRange, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """The error has the kernel's own words, the directory, and what to do."""

    def refuse_path(*_: object) -> int:
        raise KernelError(errno.EINVAL, "make a new overlay (filesystem not supported)")

    monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    monkeypatch.setattr(overlay, "_mount_by_path", refuse_path)
    with pytest.raises(HostError, match=r"not supported.*instance") as refused:
        assemble_overlay([image], data_dir / "instance", ids, sandbox.user)
    assert refused.value.hint is not None
    remove_writable(data_dir / "instance")
