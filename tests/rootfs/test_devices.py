"""Device nodes: the machine's own, or none."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.rootfs.devices import NUMBERS, clone_device, clone_devices
from anchor_supervisor.rootfs.plan import DEVICES

pytestmark = pytest.mark.root


def test_every_device_of_the_plan_can_be_cloned() -> None:
    """Each clone is the device of its name, and the stack closes them all."""
    before = len(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as stack:
        clones = clone_devices(DEVICES, stack)
        assert set(clones) == set(NUMBERS)
        for name, fd in clones.items():
            number = os.fstat(fd).st_rdev
            assert (os.major(number), os.minor(number)) == NUMBERS[name]
    assert len(os.listdir("/proc/self/fd")) == before


def test_something_else_of_that_name_is_refused(tmp_path: Path) -> None:
    """A file, another device or a link in its place is found out (CVE-2025-31133)."""
    with contextlib.ExitStack() as stack:
        (tmp_path / "null").touch()
        with pytest.raises(HostError, match="not the device") as refused:
            clone_device("null", stack, tmp_path)
        assert refused.value.hint is not None
        os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        with pytest.raises(HostError, match="not the device"):
            clone_device("zero", stack, tmp_path)
        (tmp_path / "full").symlink_to("/dev/full")
        with pytest.raises(HostError, match="not the device"):
            clone_device("full", stack, tmp_path)
        with pytest.raises(KernelError):
            clone_device("random", stack, tmp_path)
