"""The root of a container of a running fleet, as a directory held open: running or stopped.

Of a running container it is what its first process has as `/`, mounts and volumes included. Of a
stopped one it is built anew, over the writable layer that outlives its runs, in a mount namespace
of this process's own, while no start can do the same. Everything in it is hostile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, final

from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import ControlError, KernelError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel import mount, pidfd
from anchor_supervisor.kernel.namespaces import IdRange, create_sandbox
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs import strategies
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.skeleton import make_skeleton
from anchor_supervisor.runtime.stopped_volumes import attach_volumes
from anchor_supervisor.runtime.writable_lock import writable_locked
from anchor_supervisor.values import frozen

RUNNING: Final = frozenset({"running", "stopping"})
CHANGING: Final = "starting"
PATIENCE: Final = 60.0  # seconds for a container that is starting to be up, or not
_LOOK: Final = 0.05

_ROOT_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@final
@frozen
class ContainerRoot:
    """A root held open (O_PATH), and what the supervisor said of it at that time."""

    handle: int
    context: RootContext
    running: bool


@contextmanager
def container_root(
    ask: Callable[[], RootContext], complain: Callable[[str], None]
) -> Iterator[ContainerRoot]:
    """Open the root of the container that `ask` tells of; it may be asked several times.

    For a stopped container this process moves into a mount namespace of its own, for good, and
    has to have one thread. Raises ControlError where the fleet ends meanwhile.
    """
    with ExitStack() as opened:
        give_up = time.monotonic() + PATIENCE
        while True:
            context = ask()
            handle = None
            if context["pid"] is not None and context["state"] in RUNNING:
                handle = _open_running(context)
            elif context["state"] != CHANGING:
                with ExitStack() as tried:
                    handle = _open_stopped(context, ask, complain, tried)
                    if handle is not None:
                        opened.push(tried.pop_all())
            if handle is not None:
                break
            if time.monotonic() > give_up:
                message = f"`{context['name']}` neither runs nor stands still"
                raise ControlError(message, hint=f"`anchor why {context['name']}` says why")
            time.sleep(_LOOK)
        opened.callback(os.close, handle)
        yield ContainerRoot(handle, context, context["state"] in RUNNING)


def _open_running(context: RootContext) -> int | None:
    """Open the root of the first process; None where that has ended.

    The number is the process's own as long as it has not been reaped, which is looked at last.
    """
    number = context["pid"]
    assert number is not None
    try:
        process = pidfd.open_pidfd(number)
    except KernelError:
        return None
    try:
        found = pidfd.identify(number)
        if found is None or found.start_time != context["start_time"]:
            return None
        try:
            handle = os.open(f"/proc/{number}/root", _ROOT_FLAGS)
        except OSError:
            return None
        if pidfd.send_signal(process, 0):
            return handle
        os.close(handle)
        return None
    finally:
        os.close(process)


def _open_stopped(
    context: RootContext,
    ask: Callable[[], RootContext],
    complain: Callable[[str], None],
    stack: ExitStack,
) -> int | None:
    """Build the root; None where the container has been started before the lock was ours."""
    writable = Path(context["writable"])
    try:
        lock = stack.enter_context(writable_locked(writable))
    except FileNotFoundError:
        message = f"the writable layer of `{context['name']}` is gone: its fleet is ending"
        raise ControlError(message) from None
    again = ask()
    if again["state"] == CHANGING or again["state"] in RUNNING:
        return None
    stack.callback(_refuse_loss, lock, context["name"])
    return _assembled(context, writable, complain, stack)


def _refuse_loss(lock: int, name: str) -> None:
    """What was written into a layer that has been removed meanwhile is lost."""
    if os.fstat(lock).st_nlink == 0:
        message = f"the fleet of `{name}` has ended meanwhile, and its writable layers with it"
        raise ControlError(message)


def _assembled(
    context: RootContext, writable: Path, complain: Callable[[str], None], stack: ExitStack
) -> int:
    mount.private_mount_namespace()
    ids = None if context["ids"] is None else IdRange(context["first_id"], context["ids"])
    sandbox = create_sandbox(ids, network=False)
    stack.callback(sandbox.close)
    root = strategies.assemble(
        RootStrategy(context["strategy"]),
        context_layers(context),
        writable,
        ids=ids,
        user_namespace=sandbox.user,
        skeleton=make_skeleton(places.data_dir()),
    )
    # A mount takes others only once it is attached itself (mount_setattr(2) and move_mount(2) want
    # it in our namespace). On the root directory it hides nothing: a path that begins with a slash
    # starts beneath what is mounted there.
    try:
        mount.attach(root, "/")
        attach_volumes(root, context, sandbox.user, complain, stack)
        if context["read_only"]:
            mount.set_attributes(root, mount.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(root)
        raise
    return root


def context_layers(context: RootContext) -> Layers:
    """Give the image's layers."""
    paths = tuple(Path(path) for path in context["layers"])
    return Layers(paths, context["digest"], host=context["host"])
