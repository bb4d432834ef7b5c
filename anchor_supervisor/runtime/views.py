"""A running fleet as its operators see it: the core's and the host's facts, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from attrs import frozen

from anchor_supervisor.control.shapes import (
    ContainerRow,
    Dependency,
    Exit,
    HistoryEntry,
    LimitsRow,
    LogLine,
    PortRow,
    ProbeStory,
    RestartStory,
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
    TcpProbe,
)
from anchor_supervisor.runtime.words import Clock
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.order import holds
from anchor_supervisor.supervision.restart import grown_delay
from anchor_supervisor.supervision.status import Status

DEEPEST: Final = 16  # levels of dependencies shown; a chain that long is read from its top

Address = Callable[[InstanceId], str | None]


@final
@frozen
class Views:
    """Answers for one fleet.

    `address` knows where each instance can be reached, `enforced` names the limits that this
    machine can enforce: the others are not in force, whatever the file says.
    """

    fleet: Fleet
    core: Core
    clock: Clock
    address: Address
    enforced: frozenset[str]

    def row(self, status: Status) -> ContainerRow:
        """One element of `anchor ps --json`."""
        instance = status.instance
        container = self.fleet.containers[instance.container]
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
            exit_code=exited.code if exited else None,
            signal=exited.signal if exited else None,
            oom=exited.oom if exited else None,
            started_at=self.clock.rfc3339(status.started_at),
            finished_at=self.clock.rfc3339(status.finished_at),
            limits=limits_row(container, self.enforced),
        )

    def why(self, status: Status, log: Sequence[LogLine]) -> Why:
        """Everything that explains the present state of one instance."""
        container = self.fleet.containers[status.instance.container]
        return Why(
            container=self.row(status),
            dependencies=self._dependencies(container, DEEPEST),
            last_exit=self._last_exit(status),
            probe=self._probe(container, status),
            restarts=self._restarts(container, status),
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
                        dependencies=self._dependencies(self.fleet.containers[name], levels - 1),
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

    def _probe(self, container: Container, status: Status) -> ProbeStory | None:
        if container.health is None:
            return None
        return ProbeStory(
            probe=probe_words(container.health.probe),
            failures=status.probe_failures,
            retries=container.health.retries,
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


def inspect_view(
    row: ContainerRow, container: Container, host: Mapping[str, object]
) -> Mapping[str, object]:
    """Everything known of an instance: its row, what the file said, and what the host holds.

    Values of the environment may be secrets, so only the names are shown.
    """
    return {
        **row,
        "config": {
            "entrypoint": container.entrypoint,
            "command": container.command,
            "user": container.user,
            "working_dir": container.working_dir,
            "environment": sorted(container.environment),
            "root": container.root.value,
            "read_only": container.read_only,
            "init": container.init,
            "essential": container.essential,
            "user_namespace": container.user_namespace.value,
            "network_mode": container.network_mode.value,
            "networks": sorted(container.networks),
            "volumes": [
                {"source": v.source, "target": v.target, "kind": v.kind, "read_only": v.read_only}
                for v in container.volumes
            ],
            "depends_on": {name: str(value) for name, value in container.depends_on.items()},
            "stop": {"signal": container.stop.signal, "grace": container.stop.grace},
            "capabilities": {
                "add": container.capabilities.add,
                "drop": container.capabilities.drop,
            },
            "labels": dict(container.labels),
        },
        "host": dict(host),
    }
