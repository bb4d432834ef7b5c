"""Which kind of file system something is on: fstatfs(2), whose answer Python leaves out."""

from __future__ import annotations

import struct
from typing import Final

from anchor_supervisor.kernel import libc

_NAMES: Final = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
    0x01021997: "9p",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0x6969: "nfs",
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
}
"""The magic numbers of statfs(2), for what one meets; ext2 and ext3 have that of ext4."""

_SIZE: Final = 256  # `struct statfs` takes 120 bytes on 64-bit machines


def file_system(descriptor: int) -> str:
    """Name the file system of an open file (O_PATH is enough). Raises KernelError."""
    answer = bytearray(_SIZE)
    libc.system_call("fstatfs", descriptor, answer, subject=f"descriptor {descriptor}")
    (kind,) = struct.unpack_from("L", answer)  # `f_type` comes first
    magic = kind & 0xFFFFFFFF
    return _NAMES.get(magic, f"{magic:#x}")
