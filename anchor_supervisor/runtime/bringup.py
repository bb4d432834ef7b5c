"""One start, as a recipe: from an instance's holdings to a process that has executed its command.

Blocking, a few milliseconds, for a worker thread. Everything it opens it closes again; what the
container needs, the child has.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, final

from anchor_supervisor.fleet.effects import asks_for_notices
from anchor_supervisor.fleet.model import Container, RootStrategy
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.spawn import Child, Prepared, SpawnError, spawn
from anchor_supervisor.kernel.steps import Handover
from anchor_supervisor.rootfs import strategies, users
from anchor_supervisor.rootfs.prepare import open_view
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.limits import oom_kills
from anchor_supervisor.runtime.prepared_start import Start, handed_over
from anchor_supervisor.runtime.recipe import container_powers, container_process
from anchor_supervisor.runtime.run import HostRun, open_status
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.runtime.writable_lock import writable_locked
from anchor_supervisor.values import frozen

if TYPE_CHECKING:
    from anchor_supervisor.rootfs.grants import GrantFiles
    from anchor_supervisor.runtime.line_watch import LineWatch
    from anchor_supervisor.runtime.notify_socket import NotifySocket


@final
@frozen
class Stdio:
    """Three descriptors for a container's standard input, output and error."""

    stdin: int
    stdout: int
    stderr: int
    terminal: bool = False


def bring_up(
    site: Site,
    holdings: Holdings,
    stdio: Stdio | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> HostRun:
    """Start a run. `stdio` None: no input, and output into the instance's log.

    `cancelled` is asked now and then while a root is copied. Raises AnchorError, also where it
    was cancelled; then nothing of the run is left.
    """
    holdings.settle_limits(site.fleet.limits)
    handover = Handover()
    with Descriptors() as opened, ExitStack() as kept:
        root = opened.add(_root(site, holdings, cancelled, opened))
        credentials = _credentials(holdings, root)
        given = stdio is not None
        if stdio is None:
            stdio = _logged(site, holdings, credentials, opened)
        notify, generated, more = _notify(holdings, kept)
        view = open_view(
            holdings.container,
            root,
            devices=site.devices,
            handover=handover,
            fleet=site.fleet.name,
            data=site.data,
            etc={**holdings.etc, **generated},
            hidden=site.hidden,
            grants=_grants(holdings, root, credentials),
            user_namespace=holdings.sandbox.user,
            owner=(credentials.uid, credentials.gid),
            writable=holdings.writable,
            layers=site.layers[holdings.container.image],
            cancelled=cancelled,
            opened=opened,
        )
        stdin, stdout, stderr = map(handover.add, (stdio.stdin, stdio.stdout, stdio.stderr))
        process = container_process(
            holdings.container,
            holdings.hostname,
            credentials,
            (stdin, stdout, stderr),
            terminal=stdio.terminal,
            more=more,
        )
        status = open_status()
        kept.callback(os.close, status)
        start = Start(
            container_powers(holdings.container),
            handed_over(holdings.sandbox, handover),
            view,
            process,
            init=site.init,
            stay=holdings.container.init,
            status=handover.add(status),
        )
        prepared = site.prepared.take(holdings.container.name, start, holdings.hostname)
        holdings.join()
        begun = time.time_ns()
        holdings.pump.log.end_run(begun)
        holdings.pump.watch = None if given else _line_watch(holdings.container)
        child, kills = _spawn(site, holdings, prepared, handover.descriptors)
        holdings.pump.log.note_run(begun)
        kept.pop_all()  # the run's from here on
        return HostRun(holdings, child, status, kills, process, notify)


def _notify(
    holdings: Holdings, kept: ExitStack
) -> tuple[NotifySocket | None, dict[str, Path], dict[str, str]]:
    """The run's notify socket, where it is mounted, and what tells the container of it."""
    if not asks_for_notices(holdings.container):
        return None, {}, {}
    from anchor_supervisor.runtime import notify_socket  # few containers ask for it

    made, path = notify_socket.open_notify_socket(holdings.directory)
    kept.callback(made.abandon)
    return made, {notify_socket.TARGET: path}, {"NOTIFY_SOCKET": notify_socket.TARGET}


def _line_watch(container: Container) -> LineWatch:
    """Look at what goes into the log: what a caller gets is nobody else's to look at."""
    from anchor_supervisor.runtime.line_watch import LineWatch  # where the loop is loaded anyway

    return LineWatch(container)


def _spawn(
    site: Site, holdings: Holdings, prepared: Prepared, given: Sequence[int]
) -> tuple[Child, int]:
    """Spawn into the instance's cgroup; a new one where somebody has killed or removed the old.

    Returns the child, and how many processes had been killed for memory in its group before.
    A child cloned into a cgroup that `cgroup.kill` was ever written to is killed at once: the
    kernel compares the group's count of kills with that of the parent's group (Linux 6.18,
    cgroup_css_set_fork). systemd-oomd, for one, kills that way.
    """
    kills = oom_kills(holdings.cgroup)
    try:
        return spawn(prepared, given=given, cgroup=holdings.cgroup_fd), kills
    except SpawnError as error:
        removed = error.step_index is None and error.errno in {errno.ENOENT, errno.ENODEV}
        if error.errno != errno.ECANCELED and not removed:
            raise
    holdings.renew_cgroup(site.fleet.limits)
    return spawn(prepared, given=given, cgroup=holdings.cgroup_fd), 0


def _root(
    site: Site, holdings: Holdings, cancelled: Callable[[], bool], opened: Descriptors
) -> int:
    """Give a mount of the root; where `anchor cp` is at work beneath it, once that is done."""
    container, layers = holdings.container, site.layers[holdings.container.image]

    def assemble() -> int:
        return strategies.assemble(
            container.root,
            layers,
            holdings.writable,
            ids=holdings.ids,
            user_namespace=holdings.sandbox.user,
            read_only=container.read_only,
            fresh=container.volatile,
            skeleton=site.skeleton,
            cancelled=cancelled,
            opened=opened,
        )

    with writable_locked(holdings.writable):
        if not _keeps_root(site, container):
            holdings.root.let_go()
            return assemble()
        return holdings.root.clone((container.root, layers), assemble)


def get_ready(site: Site, holdings: Holdings) -> None:
    """Be on the networks, and build the root where it can be kept until the start that needs it.

    Not one that is copied: that takes a disk's time, which others may need. Raises AnchorError.
    """
    if holdings.container.root is RootStrategy.OVERLAY and _keeps_root(site, holdings.container):
        with Descriptors() as opened:
            opened.add(_root(site, holdings, lambda: False, opened))
    holdings.join()


def _keeps_root(site: Site, container: Container) -> bool:
    return not container.volatile and site.layers[container.image].unchanging


def _credentials(holdings: Holdings, root: int) -> Credentials:
    if holdings.ids is None:
        return users.lookup(root, holdings.container.user)
    return users.lookup(root, holdings.container.user, id_count=holdings.ids.count)


def _grants(holdings: Holdings, root: int, credentials: Credentials) -> GrantFiles | None:
    """Write the secrets and configs of this run; the holdings keep them, to be rewritten."""
    grants = holdings.container.grants
    files = None
    if grants:
        from anchor_supervisor.rootfs.grants import GrantFiles  # few containers have any

        files = GrantFiles(grants, root, (credentials.uid, credentials.gid), holdings.ids)
    holdings.hold_grants(files)
    return files


def _logged(site: Site, holdings: Holdings, credentials: Credentials, opened: Descriptors) -> Stdio:
    """No input; output into the FIFOs, which belong to the container's user."""
    first = 0 if holdings.ids is None else holdings.ids.first
    ends = holdings.pump.writer_ends(first + credentials.uid, first + credentials.gid)
    for end in ends:
        opened.add(end)
    return Stdio(site.no_input, *ends)
