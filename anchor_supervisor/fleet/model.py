"""The fleet as frozen values: what `fleet.toml` means once every name and unit is resolved.

Durations are seconds (float), sizes are bytes (int), modes and ids are ints. Nothing here reads a
file, a clock or the kernel.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, final

from anchor_supervisor.fleet.mount_model import Grant, GrantKind, Propagation, Volume, VolumeKind
from anchor_supervisor.fleet.places import Place, named_for, nearest_place
from anchor_supervisor.fleet.policy_model import (
    Condition,
    ExecProbe,
    Health,
    HttpProbe,
    Limits,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    OnUpdateFailure,
    Probe,
    Reaction,
    ReactionKind,
    RestartPolicy,
    RestartWhen,
    Startup,
    StopPolicy,
    TcpProbe,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.values import field, frozen

if TYPE_CHECKING:
    from anchor_supervisor.fleet.schedule_model import Schedule

__all__ = [
    "EMPTY",
    "Attachment",
    "Build",
    "Capabilities",
    "Condition",
    "Container",
    "ExecProbe",
    "Fleet",
    "Grant",
    "GrantKind",
    "Health",
    "HttpProbe",
    "Image",
    "ImageKind",
    "InstanceId",
    "Kind",
    "Limits",
    "LimitsMode",
    "LogProbe",
    "Network",
    "NetworkMode",
    "NotifyProbe",
    "OnUnhealthy",
    "OnUpdateFailure",
    "Port",
    "Probe",
    "Propagation",
    "Pull",
    "Reaction",
    "ReactionKind",
    "RestartPolicy",
    "RestartWhen",
    "RootStrategy",
    "Startup",
    "StopPolicy",
    "TcpProbe",
    "UpdateOrder",
    "UpdatePolicy",
    "UserNamespace",
    "Volume",
    "VolumeKind",
    "instances",
]

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


class UserNamespace(enum.StrEnum):
    """`auto`: a private range of 65,536 ids; `host`: root inside is root outside."""

    AUTO = "auto"
    HOST = "host"


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
    """A whole fleet, of one file or several. Mappings keep the files' order.

    `parallel`: at most so many containers start at a time; None: as many as may.

    `files` are the absolute paths of the files that were named, and `profiles` what was chosen of
    them: enough to read the fleet again. `file` is the first as it was named, `directory` the one
    it is in. `places` says where each dotted key path is written.
    """

    name: str
    containers: Mapping[str, Container]
    networks: Mapping[str, Network]
    volumes: frozenset[str] = frozenset()
    limits: LimitsMode = LimitsMode.STRICT
    parallel: int | None = None
    file: str | None = None
    directory: str = "/"
    files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(factory=lambda: MappingProxyType({}), repr=False, eq=False)

    def place(self, key: str) -> Place:
        """Say where a key is written, or the nearest that holds it.

        For what is found later, a port in use or a missing image: ``Problem(message, *place)``.
        """
        return named_for(nearest_place(self.places, key, self.file), key)


@final
class InstanceId(NamedTuple):
    """One replica of one container. Replicas count from 1.

    A tuple, because it is the key of everything that is looked up, and nothing is hashed and
    compared faster.
    """

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
