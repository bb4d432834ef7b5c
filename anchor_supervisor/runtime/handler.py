"""What operators ask of a running fleet over its control socket."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, final

import trio

from anchor_supervisor.control.handler import ActOptions, EventQuery, LogQuery, Wanted
from anchor_supervisor.control.protocol import NotFound, Refused
from anchor_supervisor.control.shapes import (
    ApplyLine,
    ContainerRow,
    DownResult,
    ExecContext,
    FleetInfo,
    Held,
    JournalEntry,
    LogLine,
    Plan,
    RootContext,
    Why,
)
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.places import fleet_log_dir
from anchor_supervisor.runtime import event_log, hold, logs
from anchor_supervisor.runtime.changing import Changes
from anchor_supervisor.runtime.event_log import EventLog
from anchor_supervisor.runtime.inspecting import inspect_view
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.supervisor import Supervisor
from anchor_supervisor.runtime.views import Views
from anchor_supervisor.supervision import events
from anchor_supervisor.supervision.states import Phase, State
from anchor_supervisor.values import define, field

ORDERS: Final[Mapping[str, Callable[[InstanceId], events.Event]]] = {
    "start": events.StartRequested,
    "stop": events.StopRequested,
    "restart": events.RestartRequested,
}
ENDED: Final = frozenset({State.STOPPED, State.COMPLETED, State.FAILED})


@final
@define(eq=False)
class FleetHandler:
    """Answers from the core's facts; orders become events like any other.

    `changes` is None for a fleet that no file describes.
    """

    supervisor: Supervisor
    machine: HostMachine
    views: Callable[[], Views]
    since: float
    journal: EventLog
    changes: Changes | None = None
    remove_volumes: bool = field(default=False, init=False)
    ready: bool = field(default=False, init=False)

    async def fleet(self) -> FleetInfo:
        """Say what runs here."""
        fleet = self.machine.site.fleet
        views = self.views()
        return FleetInfo(
            name=fleet.name,
            pid=os.getpid(),
            file=fleet.file,
            files=list(fleet.files),
            profiles=list(fleet.profiles),
            since=views.clock.rfc3339(self.since) or "",
            containers=len(self.supervisor.core.statuses()),
            ready=self.ready,
        )

    async def containers(self) -> list[ContainerRow]:
        """Give a row for each instance, in the file's order."""
        views = self.views()
        return [views.row(status) for status in self.supervisor.core.statuses(trio.current_time())]

    async def inspect(self, name: str) -> Mapping[str, object]:
        """Give everything known about one instance (the first replica of a container)."""
        instance = self._resolve(name)[0]
        views = self.views()
        row = views.row(self.supervisor.core.snapshot(instance, trio.current_time()))
        container = self.supervisor.core.made_of(instance)
        return inspect_view(row, container, self.machine.facts(instance))

    async def why(self, name: str) -> list[Why]:
        """Tell the story of each instance that `name` means."""
        fleet = self.machine.site.fleet.name
        instances = self._resolve(name)
        self.supervisor.settle()
        read = [
            (instance, *await trio.to_thread.run_sync(_written, fleet, instance))
            for instance in instances
        ]
        views, core = self.views(), self.supervisor.core
        now = trio.current_time()
        present = {status.instance for status in core.statuses()}
        return [
            views.why(core.snapshot(instance, now), lines, incidents)
            for instance, lines, incidents in read
            if instance in present  # else it has been taken away meanwhile
        ]

    async def act(self, name: str, verb: str, options: ActOptions) -> list[ContainerRow]:
        """Start, stop, restart or kill; with `wait`, answer once it has come to that."""
        instances = self._resolve(name)
        if self.supervisor.core.phase is not Phase.UP:
            message = f"cannot {verb} `{name}`: the fleet is stopping"
            raise Refused(message)
        for instance in instances:
            if verb == "kill":
                self._kill(instance, options.signal)
            else:
                await self.supervisor.order(ORDERS[verb](instance))
        if options.wait and verb != "kill":
            await self._until(instances, running=verb != "stop")
        views, core = self.views(), self.supervisor.core
        return [views.row(core.snapshot(one)) for one in instances if self._is_there(one)]

    async def down(self, *, volumes: bool) -> DownResult:
        """Stop everything in order; return once nothing runs.

        What is left then is given back by the supervisor on its way out.
        """
        self.remove_volumes = self.remove_volumes or volumes
        names = [str(status.instance) for status in self.supervisor.core.statuses()]
        self.supervisor.post(events.FleetStopRequested())
        while self.supervisor.core.phase is not Phase.DONE:
            await self.supervisor.changed()
        return DownResult(removed=[f"container {name}" for name in names])

    async def exec_context(self, name: str) -> ExecContext:
        """Say what a new process of this running instance must be like."""
        instance = self._resolve(name)[0]
        if self.supervisor.core.snapshot(instance).state is not State.RUNNING:
            message = f"`{name}` is not running"
            raise Refused(message, hint=f"`anchor why {name}` says why")
        return self.machine.exec_context(instance)

    async def root_context(self, name: str) -> RootContext:
        """Say where the root of this instance is, running or not."""
        instance = self._resolve(name)[0]
        return self.machine.root_context(instance, self.supervisor.core.snapshot(instance).state)

    async def hold(self, name: str) -> AsyncGenerator[Held, None]:
        """Freeze the instance and say so; thaw it when the one who asked has gone, or takes long.

        One who is stopped is still connected, and must not keep others still for ever.
        """
        instance = self._resolve(name)[0]
        if self.supervisor.core.snapshot(instance).state is not State.RUNNING:
            message = f"`{name}` is not running"
            raise Refused(message, hint=f"`anchor why {name}` says why")
        async with self.machine.held(instance):
            yield Held(name=str(instance), held=True)  # noqa: ASYNC119 - the server closes it
            await trio.sleep(hold.MOST)

    async def plan(self, wanted: Wanted) -> Plan:
        """Say what an apply of this would do."""
        return await self._changes().plan(wanted)

    def apply(self, wanted: Wanted) -> AsyncGenerator[ApplyLine, None]:
        """Make the fleet what is wanted, and tell how it goes, to the end."""
        changes = self._changes()
        return changes.apply(lambda: changes.reloader.prepare(wanted))

    def scale(self, replicas: Mapping[str, int]) -> AsyncGenerator[ApplyLine, None]:
        """Change how many replicas containers have."""
        changes = self._changes()
        known = changes.reloader.present.containers
        for name in replicas:
            if name not in known:
                raise self._unknown(name)
        return changes.apply(lambda: changes.reloader.scaled(replicas))

    def follow_events(self, query: EventQuery) -> AsyncGenerator[JournalEntry, None]:
        """Yield entries of the journal."""
        for name in query.names:
            self._resolve(name)
        self.supervisor.settle()
        fleet = self.machine.site.fleet.name
        return event_log.follow(fleet_log_dir(fleet), query, self.journal.more)

    def follow_logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield log records of the instances asked for."""
        names = query.names or tuple(self.machine.site.fleet.containers)
        instances = [instance for name in names for instance in self._resolve(name)]
        fleet = self.machine.site.fleet.name
        return logs.follow(fleet, instances, query, self.machine.more_output)

    def _resolve(self, name: str) -> tuple[InstanceId, ...]:
        found = self.supervisor.core.resolve(name)
        if not found:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> NotFound:
        known = ", ".join(f"`{one}`" for one in self.machine.site.fleet.containers)
        message = f"there is no container `{name}` in fleet `{self.machine.site.fleet.name}`"
        return NotFound(message, hint=f"there are {known}")

    def _changes(self) -> Changes:
        if self.changes is None:
            message = f"fleet `{self.machine.site.fleet.name}` has no file that could change"
            raise Refused(message, hint="`anchor down` and `anchor run` it as it shall be")
        return self.changes

    def _kill(self, instance: InstanceId, signal: str | None) -> None:
        if self.supervisor.core.snapshot(instance).state not in {State.RUNNING, State.STOPPING}:
            message = f"`{instance}` is not running"
            raise Refused(message)
        if not self.supervisor.signal(instance, signal or "KILL"):
            message = f"`{instance}` has just ended"
            raise Refused(message)

    async def _until(self, instances: tuple[InstanceId, ...], *, running: bool) -> None:
        """Wait until every instance is where the order leads, or cannot get there by itself."""
        while not all(self._settled(instance, running=running) for instance in instances):
            await self.supervisor.changed()

    def _is_there(self, instance: InstanceId) -> bool:
        """Whether it has not been taken away meanwhile, by an update or an `apply`."""
        return bool(self.supervisor.core.resolve(str(instance)))

    def _settled(self, instance: InstanceId, *, running: bool) -> bool:
        if not self._is_there(instance):
            return True
        status = self.supervisor.core.snapshot(instance)
        if status.state in ENDED:
            return True
        stuck = any(wait.dead for wait in status.waiting_on)
        return running and (status.state in {State.RUNNING, State.BACKOFF} or stuck)


def _written(fleet: str, instance: InstanceId) -> tuple[list[LogLine], list[JournalEntry]]:
    """What an instance said last, and what happened to it, from disk."""
    return logs.last_lines(fleet, instance), event_log.last_incidents(fleet, instance)
