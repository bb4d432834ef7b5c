"""What the core wants done. Every command is a value; the runtime performs it and reports back."""

from __future__ import annotations

import enum
from typing import final

from anchor_supervisor.fleet.model import Container, InstanceId, Probe
from anchor_supervisor.supervision.states import ExitStatus, HealthState, State
from anchor_supervisor.values import frozen


@final
@frozen
class Spawn:
    """Start this instance; answer with Spawned or SpawnFailed, and after Spawned with Exited.

    `attempt` counts from 1 and starts afresh on an operator's request.
    """

    instance: InstanceId
    attempt: int


@final
@frozen
class CancelSpawn:
    """Give up the start under way, where it can still be; it is answered as it would be anyhow.

    A start that copies a large image takes minutes, which whoever wants it to stop need not wait.
    """

    instance: InstanceId


@final
@frozen
class Signal:
    """Send the stop signal (a name without SIG) to the instance's main process."""

    instance: InstanceId
    signal: str


@final
@frozen
class Kill:
    """End the whole instance now, every process of it. Harmless if it has ended already."""

    instance: InstanceId


@final
@frozen
class RunStopCommand:
    """Run `stop.command` in the instance; answer with StopCommandFinished within `timeout` seconds.

    No answer is needed once the instance has exited.
    """

    instance: InstanceId
    command: tuple[str, ...]
    timeout: float


@final
@frozen
class Drain:
    """Lead nothing new to the instance's published ports: it is about to be stopped."""

    instance: InstanceId


@final
@frozen
class Reshape:
    """From its next start on the instance is made of `container`. Only while nothing of it runs.

    `fresh`: everything that it holds across its runs is given back first, and taken anew.
    """

    instance: InstanceId
    container: Container
    fresh: bool


@final
@frozen
class Refresh:
    """The instance runs, and is made of `container` from now on: its limits, its files.

    `signal`, where given, is sent to its main process afterwards.
    """

    instance: InstanceId
    container: Container
    signal: str | None = None


@final
@frozen
class Remove:
    """The instance is no longer wanted and nothing of it runs: give back all that it holds."""

    instance: InstanceId


@final
@frozen
class RunProbe:
    """Probe the instance; answer with ProbeFinished and this number within `timeout` seconds."""

    instance: InstanceId
    number: int
    probe: Probe
    timeout: float


@final
@frozen
class CancelProbe:
    """Give up the probe under way, if any; no answer is needed."""

    instance: InstanceId


@final
@frozen
class Report:
    """A state or health has changed: tell the log, the operators and the notify socket.

    `before` equals `state` where only the health has changed, or where a stop went further (to
    its next kill). `exit` is how the last run ended, where there has been one; `next_at` the
    monotonic second of the next attempt, in `backoff`.
    """

    instance: InstanceId
    before: State
    state: State
    health: HealthState
    reason: str
    exit: ExitStatus | None = None
    next_at: float | None = None


class UpdateResult(enum.StrEnum):
    """How an update of one container ended."""

    DONE = "done"
    PAUSED = "paused"
    ROLLED_BACK = "rolled back"
    SUPERSEDED = "superseded"


@final
@frozen
class UpdateEnded:
    """The replicas of a container have been brought to what the file says, or have not."""

    container: str
    result: UpdateResult
    reason: str


@final
@frozen
class FleetReady:
    """Every container is up (ready where it has a health check, done where it is a job). Once."""


@final
@frozen
class FleetUnready:
    """A fleet that was never ready cannot become so: a container gave up or was stopped. Once.

    Nothing is stopped because of it, and FleetReady may still follow if an operator helps.
    """

    reason: str


@final
@frozen
class FleetDone:
    """Nothing runs and nothing will: the supervisor ends with this exit code (0 or 1)."""

    exit_code: int
    reason: str


Command = (
    Spawn
    | CancelSpawn
    | Signal
    | Kill
    | RunStopCommand
    | Drain
    | Reshape
    | Refresh
    | Remove
    | RunProbe
    | CancelProbe
    | Report
    | UpdateEnded
    | FleetReady
    | FleetUnready
    | FleetDone
)
