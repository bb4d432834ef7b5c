"""What can happen to a fleet. Every event is a value; the time it happened is passed beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

from anchor_supervisor.fleet.model import Fleet, InstanceId
from anchor_supervisor.supervision.states import ExitStatus
from anchor_supervisor.values import field, frozen


@final
@frozen
class FleetStartRequested:
    """Bring everything up, as the dependencies allow.

    `wall_offset` is the wall clock's reading (seconds since the epoch) less the monotonic one's,
    for schedules. `last_runs`: by container, the wall second at which a scheduled job last began,
    under whatever supervisor.
    """

    wall_offset: float = 0.0
    last_runs: Mapping[str, float] = field(factory=lambda: MappingProxyType({}))


@final
@frozen
class FleetStopRequested:
    """Stop everything, dependents first."""


@final
@frozen
class FleetKillRequested:
    """Stop everything at once, without grace or order."""


@final
@frozen
class FleetChanged:
    """The fleet is to be what this says, complete and checked; what differs tells what to do.

    Containers that are new are started, that are gone are stopped and removed, that differ are
    brought in line: at once where that is possible, else a few replicas at a time (`update`).
    """

    fleet: Fleet


@final
@frozen
class ClockSet:
    """The wall clock was set: what it is ahead of the monotonic one now, in seconds."""

    wall_offset: float


@final
@frozen
class StartRequested:
    """An operator wants this instance up (again); its counters start afresh."""

    instance: InstanceId


@final
@frozen
class StopRequested:
    """An operator wants this instance down, and to stay down."""

    instance: InstanceId


@final
@frozen
class RestartRequested:
    """An operator wants this instance stopped and started again; its counters start afresh."""

    instance: InstanceId


@final
@frozen
class Spawned:
    """The command of this instance has been executed."""

    instance: InstanceId
    pid: int


@final
@frozen
class SpawnFailed:
    """The instance could not be started; nothing of it runs.

    `permanent`: trying again cannot help (command not found, image gone).
    """

    instance: InstanceId
    reason: str
    permanent: bool = False


@final
@frozen
class Exited:
    """The main process of this instance has ended and everything in its cgroup with it.

    Once for each Spawned, and never before it: an end that is told while nothing runs is dropped.
    """

    instance: InstanceId
    status: ExitStatus


@final
@frozen
class ProbeFinished:
    """A health probe of this instance, numbered as it was asked for, has an answer."""

    instance: InstanceId
    number: int
    ok: bool
    output: str


@final
@frozen
class StopCommandFinished:
    """The `stop.command` of this instance has ended, or could not be run."""

    instance: InstanceId
    ok: bool
    output: str


@final
@frozen
class Tick:
    """Time has passed: sent at or after `Core.next_deadline()`."""


Event = (
    FleetStartRequested
    | FleetStopRequested
    | FleetKillRequested
    | FleetChanged
    | ClockSet
    | StartRequested
    | StopRequested
    | RestartRequested
    | Spawned
    | SpawnFailed
    | Exited
    | ProbeFinished
    | StopCommandFinished
    | Tick
)
