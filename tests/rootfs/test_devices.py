"""Device nodes: the machine's own, or none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.rootfs.devices import NUMBERS, open_devices
from anchor_supervisor.rootfs.plan import DEVICES

pytestmark = pytest.mark.root


def test_every_device_of_the_plan_can_be_cloned() -> None:
    """Each clone is the device of its name, for each child anew; its owner closes it."""
    before = len(os.listdir("/proc/self/fd"))
    devices = open_devices()
    with Descriptors() as opened:
        handovers = [devices.handover() for _ in range(2)]
        handovers[0].add(0)
        given, other = (handover.open(opened) for handover in handovers)
        assert not set(given[:-1]) & set(other)
        clones = {name: given[devices.places[name].place] for name in DEVICES}
        assert os.fstat(given[devices.mask.place]).st_rdev == os.fstat(clones["null"]).st_rdev
        assert set(clones) == set(NUMBERS)
        for name, fd in clones.items():
            number = os.fstat(fd).st_rdev
            assert (os.major(number), os.minor(number)) == NUMBERS[name]
    devices.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("wrong", ["a file", "another device", "a link", "nothing"])
def test_something_else_of_that_name_is_refused(tmp_path: Path, wrong: str) -> None:
    """A file, another device or a link in its place is found out (CVE-2025-31133)."""
    before = len(os.listdir("/proc/self/fd"))
    for name, (major, minor) in NUMBERS.items():
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    odd = tmp_path / "urandom"
    odd.unlink()
    if wrong == "a file":
        odd.touch()
    elif wrong == "another device":
        os.mknod(odd, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    elif wrong == "a link":
        odd.symlink_to("/dev/urandom")
    refusal = KernelError if wrong == "nothing" else HostError
    with pytest.raises(refusal, match="No such file" if wrong == "nothing" else "not the device"):
        open_devices(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
