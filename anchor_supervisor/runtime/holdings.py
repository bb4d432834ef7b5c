"""What one instance owns for the fleet's life, across all its runs, and gives back at the end.

A sandbox is a handful of descriptors: the namespaces outlive the process, so a restart keeps the
address, the cgroup and the writable layer, and costs only a pid and a mount namespace.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from anchor_supervisor.errors import AnchorError
from anchor_supervisor.fleet.model import (
    Container,
    InstanceId,
    Limits,
    LimitsMode,
    NetworkMode,
    UserNamespace,
)
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox, create_sandbox
from anchor_supervisor.network.names import Seen
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.rootfs import files
from anchor_supervisor.rootfs.private import make_private
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.runtime.kept_root import KeptRoot
from anchor_supervisor.runtime.limits import (
    change_limits,
    end_cgroup,
    make_cgroup,
    oom_kills,
    oom_words,
)
from anchor_supervisor.runtime.output import STREAMS, Listener, OutputPump
from anchor_supervisor.runtime.site import Site
from anchor_supervisor.runtime.writable_lock import remove_when_free
from anchor_supervisor.values import define, field, frozen

if TYPE_CHECKING:
    from anchor_supervisor.rootfs.grants import GrantFiles
    from anchor_supervisor.runtime.prepared_start import Decided


@final
@frozen
class Hosts:
    """What /etc/hosts says, kept as its parts: most of it is the same text for everybody."""

    hostname: str
    seen: Seen | None
    extra: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """The whole file."""
        if self.seen is None:
            return files.hosts(self.hostname, extra=dict(self.extra))
        return files.hosts(self.hostname, self.seen.address, self.seen.lines, dict(self.extra))


_OWN_FILES: Final = (
    *STREAMS,
    *(f"etc/{Path(one).name}" for one in (files.HOSTS, files.HOSTNAME, files.RESOLV_CONF)),
    "etc/",
)


@final
@define(eq=False)
class Holdings:
    """Everything of one instance that outlives a run. `release` gives all of it back, once."""

    instance: InstanceId
    container: Container
    hostname: str
    address: str | None
    directory: Path
    writable: Path
    ids: IdRange | None
    sandbox: Sandbox
    cgroup: Cgroup
    pump: OutputPump
    hosts: Hosts
    etc: dict[str, str]
    cgroup_fd: int  # children are born in the cgroup through this descriptor
    _opened: Descriptors  # that one
    _namespaces: ExitStack
    _owned: ExitStack
    _joining: Callable[[], None]
    _oom_kills: int  # as it was counted last
    _limits: Limits | None = None  # in force; None where that is not sure
    _grants: GrantFiles | None = None  # of the last start
    _changing: threading.Lock = field(factory=threading.Lock)
    _settling: threading.Lock = field(factory=threading.Lock)
    root: KeptRoot = field(factory=KeptRoot)
    again: Decided | None = None  # of an instance that was started again, for its next start
    _begun: bool = False
    unfit: bool = False  # for any start: its networks cannot be joined
    _released: bool = False

    def join(self) -> None:
        """Return once the instance is on its networks, which takes place beside all else.

        Raises AnchorError where it cannot be; then the holdings are to be given back.
        """
        try:
            self._joining()
        except AnchorError:
            self.unfit = True
            raise

    def renew_cgroup(self, site: Site) -> None:
        """Make the cgroup anew, with the same limits; for when somebody else has killed it."""
        end_cgroup(self.cgroup)
        self.cgroup = Cgroup(self.cgroup.path)  # for whoever watches it: this is another
        renewed, self._oom_kills = _make_cgroup(site, self.cgroup, self.container)
        os.close(self._opened.leave(self.cgroup_fd))
        self.cgroup_fd = self._opened.add(renewed)

    def keep(self, decided: Decided) -> None:
        """Keep what a start was made of, from the second one on: most have no other."""
        self.again = decided if self._begun and decided.lasts else None
        self._begun = True

    def oom(self) -> str | None:
        """What the kernel has killed the instance for, if it was memory; ask once after a run."""
        before, self._oom_kills = self._oom_kills, oom_kills(self.cgroup)
        return oom_words(self.cgroup) if self._oom_kills > before else None

    def settle_limits(self, mode: LimitsMode) -> None:
        """Put the container's limits in force, where they are others than at the last start.

        Raises as `change_limits`.
        """
        with self._settling:  # a start may come while a change still waits for memory
            wanted = self.container.limits
            if self._limits != wanted:
                self._limits = None
                change_limits(self.cgroup, wanted, mode)
                self._limits = wanted

    def hold_grants(self, files: GrantFiles | None) -> None:
        """Keep the secrets and configs of the start under way in place of the last one's."""
        with self._changing:
            old, self._grants = self._grants, files
            if old is not None:
                old.close()
            if files is not None:  # there may be newer content since they were written
                files.rewrite(self.container.grants)

    def refresh(self, container: Container, mode: LimitsMode) -> None:
        """Make the instance be of `container` while it runs: its limits, its secrets and configs.

        What else differs is for its next start. Blocking, for seconds where memory has to be
        reclaimed. Raises as `change_limits` and `GrantFiles.rewrite`; then all else is done.
        """
        try:
            with self._changing:
                self.container = container
                if self._grants is not None:
                    self._grants.rewrite(container.grants)
        finally:
            self.settle_limits(mode)

    def rewrite_hosts(self, site: Site) -> None:
        """Bring /etc/hosts in line with who can be reached now, where it differs. Blocks.

        What a container has written there itself stays until then. Raises KernelError.
        """
        with self._changing:
            hosts = _hosts(site, self.instance, self.container, self.hostname)
            if hosts == self.hosts or self._released:  # else the directory would come back
                return
            text = hosts.text()
            if text != self.hosts.text():
                owner = 0 if self.ids is None else self.ids.first
                files.write_files(f"{self.directory}/etc", {files.HOSTS: text}, owner=owner)
            self.hosts = hosts

    def leave(self) -> None:
        """Let the namespaces go, as no run comes any more; twice is allowed.

        The kernel takes them apart in the background, many at a time.
        """
        self._namespaces.close()

    def release(self) -> None:
        """Give everything back, the last taken first; a second time does nothing."""
        with self._changing:
            if self._released:
                return
            self._released = True
        if self._grants is not None:
            self._grants.close()
        self.root.let_go()
        self._owned.close()


def acquire(
    site: Site,
    instance: InstanceId,
    container: Container,
    listener: Listener,
    *,
    beside: bool = True,
) -> Holdings:
    """Take what the instance, made of this, needs before its first run.

    Blocking, a few milliseconds. Its networks may not be joined yet when this returns; `beside` is
    as in `Site.attach`. Raises AnchorError, and then nothing is left behind.
    """
    hostname = host_name(container, instance)
    with ExitStack() as owned:
        directory = site.run / str(instance)
        os.mkdir(directory, 0o700)  # noqa: PTH102 - a third of the time of a Path's
        owned.callback(remove_writable, directory, _OWN_FILES)
        writable = site.writable / str(instance)
        make_private(writable)
        owned.callback(remove_when_free, writable)
        ids = None
        if container.user_namespace is UserNamespace.AUTO:
            ids = site.ids.take(str(instance))
            owned.callback(site.ids.release, ids)
        cgroup = site.cgroup.child(str(instance))
        owned.callback(end_cgroup, cgroup)
        group, kills = _make_cgroup(site, cgroup, container)
        opened = owned.enter_context(Descriptors())
        opened.add(group)
        own_network = container.network_mode is not NetworkMode.HOST
        joining = _no_network
        sandbox = create_sandbox(ids, network=own_network, proc=site.proc)
        namespaces = owned.enter_context(ExitStack())
        namespaces.callback(sandbox.close)
        if sandbox.net is not None:
            owned.callback(site.forget, instance)
            joining = site.attach(instance, container, sandbox.net, beside=beside)
            owned.callback(_over, joining)
        pump = OutputPump(instance, directory, _log(site, instance), listener)
        owned.callback(pump.close)
        pump.open()
        hosts = _hosts(site, instance, container, hostname)
        etc = _write_etc(site, container, hosts, directory, ids)
        return Holdings(
            instance,
            container,
            hostname,
            site.address_in_plan(instance, container),
            directory,
            writable,
            ids,
            sandbox,
            cgroup,
            pump,
            hosts,
            etc,
            group,
            opened,
            namespaces,
            owned.pop_all(),
            joining,
            kills,
            container.limits,
        )


def _make_cgroup(site: Site, cgroup: Cgroup, container: Container) -> tuple[int, int]:
    return make_cgroup(cgroup, container.limits, site.fleet.limits, site.enforced)


def _no_network() -> None:
    """There is nothing to join."""


def _over(joining: Callable[[], None]) -> None:
    """Wait until nobody does anything in the network namespace any more."""
    with suppress(AnchorError):
        joining()


def host_name(container: Container, instance: InstanceId) -> str:
    """The declared host name, or the container's; replicas of it are told apart by a number."""
    name = container.hostname or container.name
    return name if container.replicas == 1 else f"{name}-{instance.replica}"


def _log(site: Site, instance: InstanceId) -> LogWriter:
    return LogWriter(f"{site.logs}/{instance}", complain=site.complain)


def _hosts(site: Site, instance: InstanceId, container: Container, hostname: str) -> Hosts:
    """Say whom the instance can reach, as the site knows it now."""
    extra = tuple(container.extra_hosts.items())
    return Hosts(hostname, site.names(instance, container), extra)


def _write_etc(
    site: Site,
    container: Container,
    hosts: Hosts,
    directory: Path,
    ids: IdRange | None,
) -> dict[str, str]:
    """Write the files that every container gets, in a directory that only root can reach."""
    own_network = container.network_mode is not NetworkMode.HOST
    texts = {
        files.HOSTS: hosts.text(),
        files.HOSTNAME: files.hostname(hosts.hostname),
        files.RESOLV_CONF: files.resolv_conf(site.resolv_conf, own_network=own_network),
    }
    owner = 0 if ids is None else ids.first
    return files.write_files(f"{directory}/etc", texts, owner=owner)
