"""What it takes to make a running container into what the file says now.

Pure: two complete fleets in (images resolved, mounted files hashed), effects out. The supervision
core asks `effect_between` of what an instance is made of and what it should be made of, so `plan`
and `apply` cannot disagree.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.fleet.model import (
    Container,
    Grant,
    NotifyProbe,
    Reaction,
    ReactionKind,
    Volume,
)
from anchor_supervisor.values import evolve, field_names


class Effect(enum.IntEnum):
    """What a change does to a running container; the greater effect includes the smaller."""

    NOTHING = 0  # the same, or of no consequence until an image is asked for again
    LIVE = 1  # taken over while it runs
    SIGNAL = 2  # taken over while it runs, which is then told by a signal
    RESTART = 3  # a new process; address, cgroup and writable layer stay
    RECREATE = 4  # everything anew


EFFECTS: Final[Mapping[str, Effect]] = MappingProxyType(
    {
        "name": Effect.NOTHING,
        "build": Effect.NOTHING,
        "pull": Effect.NOTHING,
        "image_health": Effect.NOTHING,
        "complete": Effect.NOTHING,
        "profiles": Effect.NOTHING,
        "essential": Effect.LIVE,
        "limits": Effect.LIVE,
        "health": Effect.LIVE,
        "startup": Effect.LIVE,
        "restart": Effect.LIVE,
        "stop": Effect.LIVE,
        "depends_on": Effect.LIVE,
        "on_restart": Effect.LIVE,
        "on_change": Effect.LIVE,
        "ports": Effect.LIVE,
        "replicas": Effect.LIVE,
        "labels": Effect.LIVE,
        "schedule": Effect.LIVE,
        "update": Effect.LIVE,
        "max_runtime": Effect.LIVE,
        "read_only": Effect.RESTART,
        "volatile": Effect.RESTART,
        "user": Effect.RESTART,
        "working_dir": Effect.RESTART,
        "entrypoint": Effect.RESTART,
        "command": Effect.RESTART,
        "environment": Effect.RESTART,
        "volumes": Effect.RESTART,
        "grants": Effect.RESTART,
        "init": Effect.RESTART,
        "ulimits": Effect.RESTART,
        "capabilities": Effect.RESTART,
        "no_new_privileges": Effect.RESTART,
        "masked_paths": Effect.RESTART,
        "image": Effect.RECREATE,
        "kind": Effect.RECREATE,
        "root": Effect.RECREATE,
        "network_mode": Effect.RECREATE,
        "networks": Effect.RECREATE,
        "hostname": Effect.RECREATE,
        "extra_hosts": Effect.RECREATE,
        "sysctls": Effect.RECREATE,
        "user_namespace": Effect.RECREATE,
    }
)
"""By the model's field. What only content changed of (`volumes`, `grants`) goes by `on_change`."""

_REACTIONS: Final[Mapping[ReactionKind, Effect]] = MappingProxyType(
    {
        ReactionKind.IGNORE: Effect.NOTHING,
        ReactionKind.SIGNAL: Effect.SIGNAL,
        ReactionKind.RESTART: Effect.RESTART,
    }
)


def effect_between(old: Container, new: Container) -> Effect:
    """Return the greatest effect of all that differs between two states of one container."""
    return max(
        (field_effect(name, old, new) for name in field_names(Container)), default=Effect.NOTHING
    )


def field_effect(name: str, old: Container, new: Container) -> Effect:
    """Return the effect of what differs in one of the model's fields."""
    before, after = getattr(old, name), getattr(new, name)
    if before == after:
        return Effect.NOTHING
    if name == "volumes" and _without_content(before) == _without_content(after):
        return content_effect(new.on_change)
    if name == "grants" and _without_secrets(before) == _without_secrets(after):
        return content_effect(new.on_change)
    if name in {"health", "startup"} and asks_for_notices(new) and not asks_for_notices(old):
        return Effect.RESTART  # the socket is there from a run's beginning, or is not
    return EFFECTS[name]


def asks_for_notices(container: Container) -> bool:
    """Whether a probe of the container waits for a message: only then it has a NOTIFY_SOCKET."""
    tables = (container.startup, container.health)
    return any(isinstance(table.probe, NotifyProbe) for table in tables if table is not None)


def content_effect(reaction: Reaction) -> Effect:
    """Return what a change of nothing but content does."""
    return _REACTIONS[reaction.kind]


def _without_content(volumes: tuple[Volume, ...]) -> list[Volume]:
    return [evolve(volume, content=None) for volume in volumes]


def _without_secrets(grants: tuple[Grant, ...]) -> list[Grant]:
    return [evolve(grant, content=b"") for grant in grants]
