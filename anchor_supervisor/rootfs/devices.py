"""The device nodes a container gets: the machine's own, checked to be what their name says.

Nothing is made with mknod and nothing is taken from an image (CVE-2025-31133): a node is opened
once, its number is compared, and from then on only that descriptor is used.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import mount

# Major and minor numbers: Linux's Documentation/admin-guide/devices.txt.
NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def clone_devices(names: tuple[str, ...], stack: contextlib.ExitStack) -> Mapping[str, int]:
    """Make a detached mount of each device, owned by `stack`. Raises HostError for a wrong one."""
    return {name: clone_device(name, stack) for name in names}


def clone_device(name: str, stack: contextlib.ExitStack, directory: Path = Path("/dev")) -> int:
    """Make a detached mount of `/dev/<name>`, owned by `stack`."""
    path = directory / name
    try:
        node = os.open(path, _FLAGS)
    except OSError as error:
        raise KernelError(error.errno or 0, "open", str(path)) from error
    try:
        status = os.fstat(node)
        numbers = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if not stat.S_ISCHR(status.st_mode) or numbers != NUMBERS[name]:
            major, minor = NUMBERS[name]
            message = f"`{path}` is not the device it should be"
            raise HostError(
                message,
                hint=f"make it again: mknod -m 666 {path} c {major} {minor}",
            )
        clone = mount.clone_tree(node)
    finally:
        os.close(node)
    stack.callback(os.close, clone)
    return clone
