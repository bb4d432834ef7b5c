"""The root of an instance, kept mounted from one run to the next.

Mounting an overlay costs a start as much as all its other mounts together, and a run ends with its
mounts. So a start gets a clone, and the original waits here, detached and in nobody's sight. It
holds its lower layers as they were: only layers that never change are kept, which are the store's.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Hashable
from typing import final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.values import define, field


@final
@define(eq=False)
class KeptRoot:
    """At most one detached mount, owned here. May be used by several threads."""

    _mount: int | None = field(default=None, init=False)
    _made_of: Hashable = field(default=None, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def clone(self, made_of: Hashable, assemble: Callable[[], int]) -> int:
        """Return a mount of the root made of this, assembled where it is not there; the caller's.

        Raises what `assemble` raises.
        """
        with self._lock:
            if self._mount is not None and self._made_of == made_of:
                return mount.clone_tree(self._mount)
        self.let_go()
        assembled = assemble()
        try:
            clone = mount.clone_tree(assembled)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                os.close(assembled)
                raise
            return assembled  # before Linux 6.15 only what is attached can be cloned
        with self._lock:
            self._mount, self._made_of = assembled, made_of
        return clone

    def let_go(self) -> None:
        """Let the root go, for somebody else to mount; twice is allowed."""
        with self._lock:
            if self._mount is not None:
                os.close(self._mount)
                self._mount = None
