"""The device nodes a container gets: the machine's own, checked to be what their name says.

Nothing is made with mknod and nothing is taken from an image (CVE-2025-31133): a node is opened
once for a whole fleet, its number is compared, and from then on only that descriptor is used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from anchor_supervisor.values import frozen

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


@final
@frozen(eq=False)
class Devices:
    """Owns an open node of each name (O_PATH).

    A child gets a detached mount of each, at `places`, and a further one of /dev/null, at `mask`.
    """

    nodes: Mapping[str, int]
    places: Mapping[str, Given]
    mask: Given
    _asked: Handover

    def handover(self) -> Handover:
        """Begin to say what a child gets: these, which are asked for once for all children."""
        return self._asked.copy()

    def close(self) -> None:
        """Close every node."""
        for node in self.nodes.values():
            os.close(node)


def open_devices(directory: Path = Path("/dev")) -> Devices:
    """Open every node. Raises HostError for one that is missing, or is something else."""
    with ExitStack() as opened:
        nodes = {
            name: _open(directory / name, numbers, opened) for name, numbers in NUMBERS.items()
        }
        opened.pop_all()
    asked = Handover()
    places = {name: _ask(asked, node, name) for name, node in nodes.items()}
    return Devices(nodes, places, _ask(asked, nodes["null"], "null"), asked)


def _ask(handover: Handover, node: int, name: str) -> Given:
    return handover.ask(mount.cloning(node, handover.upcoming), "clone the device", name)


def _open(path: Path, numbers: tuple[int, int], opened: ExitStack) -> int:
    try:
        node = os.open(path, _FLAGS)
    except OSError as error:
        raise KernelError(error.errno or 0, "open", str(path)) from error
    opened.callback(os.close, node)
    status = os.fstat(node)
    found = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if not stat.S_ISCHR(status.st_mode) or found != numbers:
        major, minor = numbers
        message = f"`{path}` is not the device it should be"
        raise HostError(message, hint=f"make it again: mknod -m 666 {path} c {major} {minor}")
    return node
