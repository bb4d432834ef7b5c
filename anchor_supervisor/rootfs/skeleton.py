"""What every container has mounted on its root, as an image that lies beneath all others.

An image often lacks /etc/hosts and the like. Made in the writable layer, each would cost a start
the copy of /etc and a new inode on the disk, again for every container; here they are found, once
for all of them. Whatever an image says of these names wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.rootfs.files import HOSTNAME, HOSTS, RESOLV_CONF
from anchor_supervisor.rootfs.private import make_private

_DIRECTORIES: Final = ("", "dev", "etc", "proc", "sys")
_FILES: Final = (HOSTS, HOSTNAME, RESOLV_CONF)
_NAME: Final = "skeleton"


def make_skeleton(data: Path) -> Path:
    """Make it beneath the data directory where it is not there yet, and return where it is.

    Several may do so at a time. Raises KernelError.
    """
    top = data / _NAME
    if (top / _FILES[-1].lstrip("/")).exists():
        return top
    make_private(data)
    try:
        for name in _DIRECTORIES:
            _make_directory(top / name)
        for target in _FILES:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(top / target.lstrip("/"), flags, 0o644)
            os.fchmod(file, 0o644)
            os.close(file)
    except OSError as error:
        raise KernelError(error.errno or 0, "make", str(top)) from None
    return top


def _make_directory(path: Path) -> None:
    """Whatever the umask: what has no layer above it is seen as it is here."""
    path.mkdir(mode=0o755, exist_ok=True)
    path.chmod(0o755)
