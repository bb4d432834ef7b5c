"""The fleet as frozen values: what `fleet.toml` means once every name and unit is resolved.

Durations are seconds (float), sizes are bytes (int), modes and ids are ints. Nothing here reads a
file, a clock or the kernel.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, final

from attrs import field, frozen

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


class LimitsMode(enum.StrEnum):
    """What to do with a limit that this kernel cannot enforce."""

    STRICT = "strict"
    BEST_EFFORT = "best-effort"


class Kind(enum.StrEnum):
    """A service is meant to run for ever, a job to end with exit code 0."""

    SERVICE = "service"
    JOB = "job"


class RootStrategy(enum.StrEnum):
    """How a container gets its root file system from its image."""

    OVERLAY = "overlay"
    COPY = "copy"
    REFLINK = "reflink"
    BIND = "bind"


class ImageKind(enum.StrEnum):
    """Where an image's content comes from."""

    HOST = "host"
    DIRECTORY = "directory"
    ARCHIVE = "archive"
    STORE = "store"


@final
@frozen
class Image:
    """`image = ...`: `reference` is the absolute path, or the name in the store, or `host`.

    `digest` says which content the reference led to when the fleet was completed; None before.
    """

    kind: ImageKind
    reference: str
    digest: str | None = None


class Pull(enum.StrEnum):
    """When a named image is asked for at its registry before the fleet starts."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


@final
@frozen
class Build:
    """`build = ...`: how the image is made. Paths are absolute; no `dockerfile`: the usual one."""

    context: str
    dockerfile: str | None = None
    args: Mapping[str, str] = EMPTY
    target: str | None = None


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


class UserNamespace(enum.StrEnum):
    """`auto`: a private range of 65,536 ids; `host`: root inside is root outside."""

    AUTO = "auto"
    HOST = "host"


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


class Overlap(enum.StrEnum):
    """What happens to a scheduled run whose time comes while the one before still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


@final
@frozen
class Schedule:
    """`schedule = {...}` of a job: exactly one of `every` (seconds) and `cron` (five fields).

    `every` counts from the fleet's start, with a run at once; `cron` is read in `timezone`.
    `catch_up`: a time that was missed because no supervisor ran is made up for at its start.
    """

    every: float | None = None
    cron: str | None = None
    timezone: dt.tzinfo = dt.UTC
    overlap: Overlap = Overlap.SKIP
    catch_up: bool = False


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


class VolumeKind(enum.StrEnum):
    """Where a volume's content lives; an anonymous one's until its fleet is down."""

    NAMED = "named"
    ANONYMOUS = "anonymous"
    BIND = "bind"
    TMPFS = "tmpfs"


class Propagation(enum.StrEnum):
    """Whether the container sees what is mounted beneath a bind's source after its start."""

    PRIVATE = "private"
    SLAVE = "slave"


@final
@frozen
class Volume:
    """One entry of `volumes`. `source`: name, absolute host path, or None.

    `size` in bytes, `mode`, `uid` and `gid` (as the container numbers them) are for tmpfs only,
    `propagation` for binds. `copy`: a new volume begins with what the image has at the target.
    `subpath` is relative to the volume's root. `content` is the digest of a mounted file, or of
    the files in a read-only directory, when the fleet was completed.
    """

    kind: VolumeKind
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    noexec: bool = False
    nosuid: bool = False
    nodev: bool = False
    copy: bool = True
    subpath: str | None = None
    propagation: Propagation = Propagation.PRIVATE
    content: str | None = None


class GrantKind(enum.StrEnum):
    """A secret is never shown; a config is like it, and nothing to hide."""

    SECRET = "secret"  # noqa: S105 - a word
    CONFIG = "config"


@final
@frozen
class Grant:
    """One secret or config in one container: a file at `target`, on memory of the container's own.

    `owner` is USER or USER:GROUP, looked up inside the root; None: the container's own user.
    """

    kind: GrantKind
    name: str
    target: str
    content: bytes = field(repr=False)
    mode: int = 0o400
    owner: str | None = None


@final
@frozen
class Port:
    """One published port: `host_address:host_port` on the machine leads to `container_port`."""

    host_address: str
    host_port: int
    container_port: int
    protocol: str = "tcp"


@final
@frozen
class Attachment:
    """How a container sits on a network: more names for it, and a fixed address if one is asked.

    `network` is that network's own table, so that a change of it is one of the container.
    """

    aliases: tuple[str, ...] = ()
    address: str | None = None
    network: Network | None = None


class NetworkMode(enum.StrEnum):
    """`bridge`: on the declared networks; `none`: loopback only; `host`: the machine's own."""

    BRIDGE = "bridge"
    NONE = "none"
    HOST = "host"


@final
@frozen
class Capabilities:
    """`capabilities = {...}`: names without CAP_, upper case; `ALL` is allowed in either list."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@final
@frozen
class Container:
    """One `[containers.NAME]` table, complete with its defaults.

    `entrypoint` and `command` are None where the file does not say: the image's own, or nothing.
    `health` None takes the image's health check, unless `image_health` is false. `volatile`: what
    the container writes is thrown away at each of its starts. `complete`: what its image of the
    store says has been filled in. `on_restart` maps a dependency to what happens when it restarts;
    `on_change` is for the content of mounted files, secrets and configs. `max_runtime` in seconds.
    """

    name: str
    image: Image
    build: Build | None = None
    pull: Pull = Pull.MISSING
    kind: Kind = Kind.SERVICE
    root: RootStrategy = RootStrategy.OVERLAY
    read_only: bool = False
    volatile: bool = False
    user: str | None = None
    working_dir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = EMPTY
    volumes: tuple[Volume, ...] = ()
    network_mode: NetworkMode = NetworkMode.BRIDGE
    networks: Mapping[str, Attachment] = field(factory=lambda: MappingProxyType({}))
    init: bool = True
    essential: bool = False
    limits: Limits = Limits()
    health: Health | None = None
    image_health: bool = True
    restart: RestartPolicy = RestartPolicy()
    stop: StopPolicy = StopPolicy()
    depends_on: Mapping[str, Condition] = field(factory=lambda: MappingProxyType({}))
    ports: tuple[Port, ...] = ()
    replicas: int = 1
    hostname: str | None = None
    extra_hosts: Mapping[str, str] = EMPTY
    ulimits: Mapping[str, tuple[int, int]] = field(factory=lambda: MappingProxyType({}))
    sysctls: Mapping[str, str] = EMPTY
    capabilities: Capabilities = Capabilities()
    user_namespace: UserNamespace = UserNamespace.AUTO
    no_new_privileges: bool = True
    masked_paths: bool = True
    labels: Mapping[str, str] = EMPTY
    complete: bool = False
    startup: Startup | None = None
    on_restart: Mapping[str, Reaction] = field(factory=lambda: MappingProxyType({}))
    on_change: Reaction = Reaction(ReactionKind.RESTART)
    max_runtime: float | None = None
    schedule: Schedule | None = None
    update: UpdatePolicy = UpdatePolicy()
    grants: tuple[Grant, ...] = ()
    profiles: tuple[str, ...] = ()


@final
@frozen
class Network:
    """One `[networks.NAME]` table. `subnet` None: a free /24 of 10.88.0.0/16 is taken."""

    name: str
    subnet: str | None = None
    internal: bool = False


@final
@frozen
class Fleet:
    """A whole fleet file. Mappings keep the file's order.

    `parallel`: at most so many containers start at a time; None: as many as may.

    `lines` maps a dotted key path to its 1-based line in `file`, for errors that are found later
    (a port in use, a missing image). `directory` is what relative paths were resolved against.
    """

    name: str
    containers: Mapping[str, Container]
    networks: Mapping[str, Network]
    volumes: frozenset[str] = frozenset()
    limits: LimitsMode = LimitsMode.STRICT
    parallel: int | None = None
    file: str | None = None
    directory: str = "/"
    lines: Mapping[str, int] = field(factory=lambda: MappingProxyType({}), repr=False, eq=False)


@final
@frozen(order=True)
class InstanceId:
    """One replica of one container. Replicas count from 1."""

    container: str
    replica: int = 1

    def __str__(self) -> str:
        """Return `web.1`: unambiguous everywhere a kernel object or a file is named."""
        return f"{self.container}.{self.replica}"


def instances(fleet: Fleet) -> tuple[InstanceId, ...]:
    """Every instance the fleet wants, in file order."""
    return tuple(
        InstanceId(container.name, replica)
        for container in fleet.containers.values()
        for replica in range(1, container.replicas + 1)
    )
