"""A procfs of our own, in which the settings of a namespace are found fast.

A network namespace leaves entries of its own beneath `sys/net` in whatever procfs it was set up
through, for as long as both last, and all under the same names: whoever looks for one is led past
everybody's (proc_sys_compare). Through the machine's /proc a setting costs the thousandth container
a hundred times what it costs the first. Every mount of a procfs has its own entries (Linux 5.8; on
an older one it is the machine's again, and only slow), so one is used for few containers, and the
next ones get another.
"""

from __future__ import annotations

import os
import threading
from typing import Final, final

from anchor_supervisor.kernel import mount
from anchor_supervisor.values import define, field

USES: Final = 32
"""A mount costs as much as finding one's way past so many."""

_ATTRIBUTES: Final = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC


def _mounted() -> int:
    return mount.new_filesystem("proc", (), _ATTRIBUTES)


@final
@define(eq=False)
class OwnProc:
    """One detached mount, owned here; making it raises KernelError. Several threads may use it."""

    _mount: int = field(factory=_mounted, init=False)
    _uses: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def open(self) -> int:
        """Open the top directory of a procfs that few have used; the caller's.

        Raises KernelError.
        """
        worn = None
        with self._lock:
            if self._uses == USES:
                worn, self._mount, self._uses = self._mount, _mounted(), 0
            self._uses += 1
            opened = os.dup(self._mount)
        if worn is not None:
            os.close(worn)  # with all its entries, which nobody has to wait for
        return opened

    def close(self) -> None:
        """Let the mount go."""
        os.close(self._mount)
