"""One start, as a recipe: from an instance's holdings to a process that has executed its command.

Blocking, a few milliseconds, for a worker thread. Everything it opens it closes again; what the
container needs, the child has.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from anchor_supervisor.fleet.effects import asks_for_notices
from anchor_supervisor.fleet.model import EMPTY, Container, RootStrategy
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from anchor_supervisor.kernel.spawn import Child, SpawnError, spawn
from anchor_supervisor.rootfs import strategies, users
from anchor_supervisor.rootfs.prepare import open_view
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.runtime.prepared_start import Decided, Start, handed_over
from anchor_supervisor.runtime.recipe import container_process
from anchor_supervisor.runtime.run import HostRun, ask_status
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
    with Descriptors() as opened:
        root = opened.add(_root(site, holdings, cancelled, opened))
        credentials = _credentials(holdings, root)
        again = holdings.again
        if again is not None and stdio is None and again.suits(holdings.container, credentials):
            again.handover.replace(again.root, root)
            return _begin(site, holdings, again, opened, logged=True)
        notify, mounted, told = _notify(holdings)
        try:
            decided = _decide(
                site, holdings, root, credentials, stdio, mounted, told, cancelled, opened
            )
            run = _begin(site, holdings, decided, opened, logged=stdio is None)
        except BaseException:
            if notify is not None:
                notify.abandon()
            raise
        run.notify = notify
        holdings.keep(decided)
        return run


def _decide(
    site: Site,
    holdings: Holdings,
    root: int,
    credentials: Credentials,
    stdio: Stdio | None,
    mounted: Mapping[str, str],
    told: Mapping[str, str],
    cancelled: Callable[[], bool],
    opened: Descriptors,
) -> Decided:
    """Say what the start is made of. `opened` owns what has to be open for that already."""
    handover = site.devices.handover()
    view = open_view(
        holdings.container,
        root,
        devices=site.devices,
        handover=handover,
        fleet=site.fleet.name,
        data=site.data,
        etc={**holdings.etc, **mounted},
        hidden=site.hidden,
        grants=_grants(holdings, root, credentials),
        user_namespace=holdings.sandbox.user,
        owner=(credentials.uid, credentials.gid),
        writable=holdings.writable,
        layers=site.layers[holdings.container.image],
        cancelled=cancelled,
        opened=opened,
    )
    assert isinstance(view.root, Given)
    process = container_process(
        holdings.container,
        holdings.hostname,
        credentials,
        _stdio(site, holdings, stdio, credentials, handover),
        terminal=stdio is not None and stdio.terminal,
        more=told,
    )
    status = ask_status(handover)
    start = Start(handed_over(holdings.sandbox, handover), view, site.init, status)
    prepared = site.prepared.take(holdings.container, start, process, holdings.hostname)
    return Decided(holdings.container, credentials, view.root, process, handover, status, prepared)


def _begin(
    site: Site, holdings: Holdings, decided: Decided, opened: Descriptors, *, logged: bool
) -> HostRun:
    """Open what was asked for, and begin the run; from then on its status is its own."""
    given = decided.handover.open(opened)
    holdings.join()
    begun = time.time_ns()
    holdings.pump.log.end_run(begun)
    holdings.pump.watch = _line_watch(holdings.container) if logged else None
    child = _spawn(site, holdings, decided, given)
    holdings.pump.log.note_run(begun)
    return HostRun(holdings, child, opened.leave(given[decided.status.place]), decided.process)


def _notify(holdings: Holdings) -> tuple[NotifySocket | None, Mapping[str, str], Mapping[str, str]]:
    """The run's notify socket, where it is mounted, and what tells the container of it."""
    if not asks_for_notices(holdings.container):
        return None, EMPTY, EMPTY
    from anchor_supervisor.runtime import notify_socket  # few containers ask for it

    made, path = notify_socket.open_notify_socket(holdings.directory)
    return made, {notify_socket.TARGET: str(path)}, {"NOTIFY_SOCKET": notify_socket.TARGET}


def _line_watch(container: Container) -> LineWatch:
    """Look at what goes into the log: what a caller gets is nobody else's to look at."""
    from anchor_supervisor.runtime.line_watch import LineWatch  # where the loop is loaded anyway

    return LineWatch(container)


def _spawn(site: Site, holdings: Holdings, decided: Decided, given: Sequence[int]) -> Child:
    """Spawn into the instance's cgroup; a new one where somebody has killed or removed the old.

    A child cloned into a cgroup that `cgroup.kill` was ever written to is killed at once: the
    kernel compares the group's count of kills with that of the parent's group (Linux 6.18,
    cgroup_css_set_fork). systemd-oomd, for one, kills that way.
    """
    try:
        return spawn(decided.prepared, given=given, cgroup=holdings.cgroup_fd)
    except SpawnError as error:
        removed = error.step_index is None and error.errno in {errno.ENOENT, errno.ENODEV}
        if error.errno != errno.ECANCELED and not removed:
            raise
    holdings.renew_cgroup(site)
    return spawn(decided.prepared, given=given, cgroup=holdings.cgroup_fd)


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


def _stdio(
    site: Site,
    holdings: Holdings,
    given: Stdio | None,
    credentials: Credentials,
    handover: Handover,
) -> tuple[Given, Given, Given]:
    """What is given, else no input, and output into the FIFOs of the container's user."""
    if given is not None:
        return handover.add(given.stdin), handover.add(given.stdout), handover.add(given.stderr)
    first = 0 if holdings.ids is None else holdings.ids.first
    ends = holdings.pump.ask_ends(handover, first + credentials.uid, first + credentials.gid)
    return handover.add(site.no_input), *ends
