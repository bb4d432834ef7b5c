"""Work in a mount namespace and a working directory of its own, which end with the work.

A new thread unshares both (unshare(2): CLONE_NEWNS implies CLONE_FS), so neither the process nor
the machine ever sees what is attached there, and nothing has to be taken down again: the kernel
does that when the thread, the namespace's only member, has ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from anchor_supervisor.kernel import libc, mount

T = TypeVar("T")

_CLONE_NEWNS: Final = 0x00020000


def in_own_namespace(work: Callable[[], T]) -> T:
    """Run `work` with an empty tmpfs as its working directory, in a mount namespace of its own.

    What it attaches by a relative path lies in that tmpfs. Descriptors are the process's own;
    detached mounts among them live on. Raises what `work` raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter()
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="own-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter() -> None:
    """The tmpfs goes over the root directory, which always exists, and hides nothing there.

    A path that begins with a slash starts beneath what is mounted on the root (path_resolution(7)
    looks for mounts on what it walks to, not on where it begins).
    """
    libc.system_call("unshare", _CLONE_NEWNS)
    # Otherwise the namespace this is a copy of would get what is attached here.
    libc.system_call("mount", b"none", b"/", None, mount.MS_PRIVATE, None, subject="/")
    place = mount.new_filesystem("tmpfs")
    try:
        mount.attach(place, "/")
        os.fchdir(place)
    finally:
        os.close(place)
