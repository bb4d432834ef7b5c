"""A running fleet as its operators see it: the core's and the host's facts, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from anchor_supervisor.control.shapes import (
    ContainerRow,
    Dependency,
    Exit,
    HistoryEntry,
    JournalEntry,
    LimitsRow,
    LogLine,
    PortRow,
    ProbeStory,
    RestartStory,
    ScheduleStory,
    StopStory,
    UpdateRow,
    Why,
)
from anchor_supervisor.fleet.model import (
    Container,
    ExecProbe,
    Fleet,
    HttpProbe,
    InstanceId,
    LogProbe,
    NotifyProbe,
    Probe,
    StopPolicy,
    TcpProbe,
)
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.fleet.units import format_duration
from anchor_supervisor.runtime.clock import Clock
from anchor_supervisor.runtime.plan_view import update_row, update_words
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.order import holds
from anchor_supervisor.supervision.restart import grown_delay
from anchor_supervisor.supervision.status import Status
from anchor_supervisor.values import frozen

DEEPEST: Final = 16  # levels of dependencies shown; a chain that long is read from its top

Address = Callable[[InstanceId], str | None]


def _nothing(_: InstanceId) -> None:
    """Nobody knows."""


@final
@frozen
class Views:
    """Answers for one fleet.

    `address` knows where each instance can be reached, `enforced` names the limits that this
    machine can enforce: the others are not in force, whatever the file says. `warning` knows what
    is wrong with a run, `told` what the container last said of itself.
    """

    fleet: Fleet
    core: Core
    clock: Clock
    address: Address
    enforced: frozenset[str]
    warning: Callable[[InstanceId], str | None] = _nothing
    told: Callable[[InstanceId], str | None] = _nothing

    def row(self, status: Status) -> ContainerRow:
        """One element of `anchor ps --json`."""
        instance = status.instance
        container = self.core.made_of(instance)
        update = self.core.updates.get(instance.container)
        exited = status.exit
        return ContainerRow(
            fleet=self.fleet.name,
            container=instance.container,
            replica=instance.replica,
            name=str(instance),
            kind=container.kind.value,
            image=container.image.reference,
            state=status.state.value,
            health=status.health.value,
            reason=status.reason,
            since=self._time(status.since),
            next=status.next,
            next_at=self.clock.rfc3339(status.next_at),
            pid=status.pid,
            address=self.address(instance),
            ports=port_rows(container),
            restarts=status.restarts,
            attempts=status.attempts_in_window,
            attempts_most=status.attempts_most,
            attempts_window=status.window,
            update=update_words(update) if update is not None else None,
            warning=self.warning(instance),
            exit_code=exited.code if exited else None,
            signal=exited.signal if exited else None,
            oom=exited.oom if exited else None,
            started_at=self.clock.rfc3339(status.started_at),
            finished_at=self.clock.rfc3339(status.finished_at),
            limits=limits_row(container, self.enforced),
        )

    def why(
        self, status: Status, log: Sequence[LogLine], incidents: Sequence[JournalEntry] = ()
    ) -> Why:
        """Everything that explains the present state of one instance."""
        container = self.core.made_of(status.instance)
        return Why(
            container=self.row(status),
            dependencies=self._dependencies(container, DEEPEST),
            last_exit=self._last_exit(status),
            probe=self._probe(status),
            restarts=self._restarts(container, status),
            schedule=self._schedule(container, status),
            stop=self._stop(container, status),
            update=self._update(status.instance),
            told=self.told(status.instance),
            until=self.clock.rfc3339(status.too_long_at),
            incidents=list(incidents),
            log=list(log),
            history=[
                HistoryEntry(
                    time=self._time(moment.at),
                    state=moment.state.value,
                    health=moment.health.value,
                    reason=moment.reason,
                )
                for moment in status.history
            ],
        )

    def _time(self, moment: float | None) -> str:
        """A time that is always there: before the first event, the reading of the clock itself."""
        return self.clock.rfc3339(self.clock.monotonic if moment is None else moment) or ""

    def _dependencies(self, container: Container, levels: int) -> list[Dependency]:
        if levels == 0:
            return []
        found = []
        for name, condition in container.depends_on.items():
            for instance in self.core.resolve(name):
                status = self.core.snapshot(instance)
                found.append(
                    Dependency(
                        name=str(instance),
                        condition=condition.value,
                        met=holds(condition, status.state, status.health),
                        state=status.state.value,
                        health=status.health.value,
                        reason=status.reason,
                        dependencies=self._dependencies(self.core.made_of(instance), levels - 1),
                    )
                )
        return found

    def _last_exit(self, status: Status) -> Exit | None:
        if status.exit is None:
            return None
        ran = None
        if status.finished_at is not None and status.started_at is not None:
            ran = max(0.0, status.finished_at - status.started_at)
        return Exit(
            code=status.exit.code,
            signal=status.exit.signal,
            oom=status.exit.oom,
            at=self.clock.rfc3339(status.finished_at),
            ran=ran,
        )

    def _probe(self, status: Status) -> ProbeStory | None:
        probing = status.probing
        if probing is None:
            return None
        return ProbeStory(
            probe=probe_words(probing.probe),
            startup=probing.startup,
            failures=probing.failures,
            retries=probing.retries,
            results=[
                {
                    "at": self._time(result.at),
                    "ok": result.ok,
                    "duration": None,
                    "output": result.output,
                }
                for result in status.probes
            ],
        )

    def _restarts(self, container: Container, status: Status) -> RestartStory:
        policy = container.restart
        return RestartStory(
            when=policy.when.value,
            in_window=status.attempts_in_window,
            max=policy.max,
            window=policy.window,
            delay=grown_delay(policy, status.streak),
        )

    def _schedule(self, container: Container, status: Status) -> ScheduleStory | None:
        known = status.schedule
        if known is None or container.schedule is None:
            return None
        return ScheduleStory(
            when=schedule_words(container.schedule),
            next_at=self.clock.rfc3339(known.due_at),
            queued=known.queued,
            skipped=known.skipped,
            suspended=known.suspended,
        )

    def _stop(self, container: Container, status: Status) -> StopStory:
        command = status.stop_command
        return StopStory(
            how=stop_words(container.stop),
            command_at=self.clock.rfc3339(command.at) if command else None,
            command_ok=command.ok if command else None,
            command_output=command.output if command else None,
        )

    def _update(self, instance: InstanceId) -> UpdateRow | None:
        update = self.core.updates.get(instance.container)
        return update_row(update) if update is not None else None


def schedule_words(schedule: Schedule) -> str:
    """When a job runs: ``every 1h``, ``cron `0 3 * * *` in Europe/Paris``."""
    if schedule.every is not None:
        when = f"every {format_duration(schedule.every)}"
    else:
        when = f"cron `{schedule.cron}` in {schedule.timezone}"
    overlap = "" if schedule.overlap is Overlap.SKIP else f", overlapping runs: {schedule.overlap}"
    return when + overlap + (", missed runs are made up for" if schedule.catch_up else "")


def stop_words(stop: StopPolicy) -> str:
    """How it is stopped: ``runs `pg_ctl stop`, then SIGTERM, killed after 10s``."""
    command = f"runs `{' '.join(stop.command)}`, then " if stop.command else ""
    return f"{command}SIG{stop.signal}, killed after {format_duration(stop.grace)}"


def probe_words(probe: Probe) -> str:
    """A health probe as the file would say it."""
    match probe:
        case ExecProbe(command=command):
            return f"exec {' '.join(command)}"
        case TcpProbe(port=port):
            return f"tcp :{port}"
        case HttpProbe(port=port, path=path):
            return f"http :{port}{path}"
        case LogProbe(pattern=pattern):
            return f"log {pattern}"
        case NotifyProbe():
            return "notify"


def port_rows(container: Container) -> list[PortRow]:
    """The published ports of a container."""
    return [
        PortRow(
            host_address=port.host_address,
            host_port=port.host_port,
            container_port=port.container_port,
            protocol=port.protocol,
        )
        for port in container.ports
    ]


def limits_row(container: Container, enforced: frozenset[str]) -> LimitsRow:
    """The limits that are in force, of those that `ps` shows."""
    limits = container.limits
    return LimitsRow(
        memory=limits.memory if "memory" in enforced else None,
        cpus=limits.cpus if "cpus" in enforced else None,
        pids=limits.pids if "pids" in enforced else None,
    )
