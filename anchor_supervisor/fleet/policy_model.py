"""What a container's policies say, as frozen values: limits, probes, restarts, stops, schedules.

Durations are seconds (float), sizes are bytes (int).
"""

from __future__ import annotations

import enum
from typing import final

from anchor_supervisor.values import frozen


class Condition(enum.StrEnum):
    """The state a dependency must be in before its dependent starts."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


class RestartWhen(enum.StrEnum):
    """After which exits a container is started again."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class OnUnhealthy(enum.StrEnum):
    """What happens to a container whose probe has failed `retries` times in a row."""

    RESTART = "restart"
    STOP = "stop"
    NONE = "none"


class ReactionKind(enum.StrEnum):
    """What a running container does when something it uses has changed."""

    IGNORE = "ignore"
    RESTART = "restart"
    SIGNAL = "signal"


@final
@frozen
class Reaction:
    """`on_restart`, `on_change`: `signal` (a name without SIG) is set for SIGNAL alone."""

    kind: ReactionKind = ReactionKind.IGNORE
    signal: str | None = None


@final
@frozen
class RestartPolicy:
    """`restart = ...`. Durations in seconds; `max` None means without end.

    `on_exit_codes`, where given, are the only codes after which there is a restart;
    `never_on_exit_codes` those after which there is none, whatever `when` says. An end by signal
    N counts as code 128 + N. A run of at least `reset_after` is followed by a restart at once.
    """

    when: RestartWhen = RestartWhen.ON_FAILURE
    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.1
    max: int | None = None
    window: float = 600.0
    reset_after: float = 10.0
    on_exit_codes: frozenset[int] | None = None
    never_on_exit_codes: frozenset[int] = frozenset()


@final
@frozen
class ExecProbe:
    """Healthy when the command, run inside the container, exits 0."""

    command: tuple[str, ...]


@final
@frozen
class TcpProbe:
    """Healthy when something accepts on this port of the container's loopback or own address."""

    port: int


@final
@frozen
class HttpProbe:
    """Healthy when GET `path` on this port of the container answers 200 to 399."""

    port: int
    path: str = "/"


@final
@frozen
class LogProbe:
    """Healthy once a line of the run's output matches this regular expression; asked once."""

    pattern: str


@final
@frozen
class NotifyProbe:
    """Healthy once the container has sent READY=1 to its NOTIFY_SOCKET (sd_notify(3))."""


Probe = ExecProbe | TcpProbe | HttpProbe | LogProbe | NotifyProbe


@final
@frozen
class Startup:
    """`startup = {...}`: asked until it succeeds, and only then is `health` asked.

    Durations in seconds; after `retries` failures in a row the container is unhealthy.
    """

    probe: Probe
    interval: float = 1.0
    timeout: float = 5.0
    retries: int = 30


@final
@frozen
class Health:
    """`health = {...}`. Durations in seconds."""

    probe: Probe
    interval: float = 30.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 0.0
    on_failure: OnUnhealthy = OnUnhealthy.RESTART


@final
@frozen
class StopPolicy:
    """`stop = {...}`: `signal` without SIG, `grace` in seconds before the kill.

    `declared` holds the keys that the file wrote: they win over the image's. `command` is run in
    the container before the signal is sent, within the same `grace`.
    """

    signal: str = "TERM"
    grace: float = 10.0
    declared: frozenset[str] = frozenset()
    command: tuple[str, ...] | None = None


class UpdateOrder(enum.StrEnum):
    """Whether an update first stops an old replica, or first starts an additional new one."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"


class OnUpdateFailure(enum.StrEnum):
    """What becomes of an update when a new replica fails while it is watched."""

    PAUSE = "pause"
    ROLLBACK = "rollback"
    CONTINUE = "continue"


@final
@frozen
class UpdatePolicy:
    """`update = {...}`: how a change that needs new runs is brought to the replicas.

    `parallelism` replicas at a time; each must be ready, and stay so for `monitor` seconds, before
    the next. A replica with published ports is led no new connections for `drain` seconds before
    it is stopped, where another takes them meanwhile.
    """

    order: UpdateOrder = UpdateOrder.STOP_FIRST
    parallelism: int = 1
    monitor: float = 0.0
    drain: float = 1.0
    on_failure: OnUpdateFailure = OnUpdateFailure.PAUSE


@final
@frozen
class Limits:
    """`limits = {...}`. Sizes in bytes; `cpus` in processors (0.5 is half of one). None: no limit.

    `pids` has a default, which is best-effort; a limit that the file declares is as strict as
    `[fleet].limits` says. `declared` holds the keys that the file wrote.
    """

    memory: int | None = None
    memory_high: int | None = None
    swap: int | None = None
    cpus: float | None = None
    cpu_weight: int | None = None
    cpuset: str | None = None
    pids: int | None = 4096
    io_weight: int | None = None
    declared: frozenset[str] = frozenset()
