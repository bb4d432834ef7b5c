"""Everything known about one instance, as JSON. Pure.

Of what may be secret (the environment's values, the content of secrets and configs) only the names
are shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from anchor_supervisor.control.shapes import ContainerRow
from anchor_supervisor.fleet.model import (
    Container,
    Grant,
    GrantKind,
    Health,
    Reaction,
    RestartPolicy,
    Startup,
    Volume,
)
from anchor_supervisor.runtime.views import probe_words, schedule_words

Facts = Mapping[str, object]


def inspect_view(row: ContainerRow, container: Container, host: Facts) -> Facts:
    """Its row, what it is made of, and what the host holds for it."""
    return {
        **row,
        "config": {
            **_process(container),
            **_surroundings(container),
            **_supervision(container),
            "profiles": list(container.profiles),
            "labels": dict(container.labels),
        },
        "host": dict(host),
    }


def _process(container: Container) -> Facts:
    return {
        "image_digest": container.image.digest,
        "entrypoint": container.entrypoint,
        "command": container.command,
        "user": container.user,
        "working_dir": container.working_dir,
        "environment": sorted(container.environment),
        "root": container.root.value,
        "read_only": container.read_only,
        "init": container.init,
        "user_namespace": container.user_namespace.value,
        "capabilities": {
            "add": container.capabilities.add,
            "drop": container.capabilities.drop,
        },
    }


def _surroundings(container: Container) -> Facts:
    return {
        "network_mode": container.network_mode.value,
        "networks": sorted(container.networks),
        "volumes": [_volume(volume) for volume in container.volumes],
        "secrets": _grants(container, GrantKind.SECRET),
        "configs": _grants(container, GrantKind.CONFIG),
    }


def _supervision(container: Container) -> Facts:
    schedule = container.schedule
    return {
        "essential": container.essential,
        "replicas": container.replicas,
        "depends_on": {
            name: {"condition": condition.value, "on_restart": _reaction(container, name)}
            for name, condition in container.depends_on.items()
        },
        "startup": _check(container.startup),
        "health": _check(container.health),
        "restart": _restart(container.restart),
        "stop": {
            "signal": container.stop.signal,
            "grace": container.stop.grace,
            "command": container.stop.command,
        },
        "on_change": reaction_words(container.on_change),
        "max_runtime": container.max_runtime,
        "schedule": schedule_words(schedule) if schedule is not None else None,
        "update": {
            "order": container.update.order.value,
            "parallelism": container.update.parallelism,
            "monitor": container.update.monitor,
            "drain": container.update.drain,
            "on_failure": container.update.on_failure.value,
        },
    }


def _volume(volume: Volume) -> Facts:
    return {
        "source": volume.source,
        "target": volume.target,
        "kind": volume.kind.value,
        "read_only": volume.read_only,
    }


def _grants(container: Container, kind: GrantKind) -> list[Facts]:
    return [_grant(grant) for grant in container.grants if grant.kind is kind]


def _grant(grant: Grant) -> Facts:
    return {
        "name": grant.name,
        "target": grant.target,
        "mode": f"{grant.mode:04o}",
        "owner": grant.owner,
    }


def _check(check: Health | Startup | None) -> Facts | None:
    if check is None:
        return None
    facts: dict[str, object] = {
        "probe": probe_words(check.probe),
        "interval": check.interval,
        "timeout": check.timeout,
        "retries": check.retries,
    }
    if isinstance(check, Health):
        facts["start_period"] = check.start_period
        facts["on_failure"] = check.on_failure.value
    return facts


def _restart(policy: RestartPolicy) -> Facts:
    only = policy.on_exit_codes
    return {
        "when": policy.when.value,
        "delay": policy.delay,
        "factor": policy.factor,
        "max_delay": policy.max_delay,
        "jitter": policy.jitter,
        "max": policy.max,
        "window": policy.window,
        "reset_after": policy.reset_after,
        "on_exit_codes": None if only is None else sorted(only),
        "never_on_exit_codes": sorted(policy.never_on_exit_codes),
    }


def _reaction(container: Container, dependency: str) -> str:
    return reaction_words(container.on_restart.get(dependency, Reaction()))


def reaction_words(reaction: Reaction) -> str:
    """As the file says it: `restart`, `signal HUP`."""
    if reaction.signal is None:
        return reaction.kind.value
    return f"{reaction.kind.value} {reaction.signal}"
