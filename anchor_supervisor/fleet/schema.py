"""Every key that a fleet file may have, with its type and default as the reference prints them.

Data only. A key that is not here is unknown; one that is here without `supported` is refused with
`not supported yet`. A default in TOML notation means what leaving the key out means.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.values import field, frozen


@final
@frozen
class Key:
    """One key: its type and default in the reference's words; `default` None: there is none."""

    type: str
    default: str | None = None
    supported: bool = field(default=True, kw_only=True)


Section = Mapping[str, Key]


def _later(type_: str, default: str | None = None) -> Key:
    return Key(type_, default, supported=False)


DOCUMENT: Final[Section] = MappingProxyType(
    {
        "fleet": Key("table", "{}"),
        "containers": Key("table"),
        "networks": Key("table", "{}"),
        "volumes": Key("table", "{}"),
        "secrets": Key("table", "{}"),
        "configs": Key("table", "{}"),
        "include": Key("list", "[]"),
    }
)

FLEET: Final[Section] = MappingProxyType(
    {
        "name": Key("string"),
        "limits": Key("string", '"strict"'),
        "parallel": Key("count"),
    }
)

CONTAINER: Final[Section] = MappingProxyType(
    {
        "image": Key("string"),
        "build": Key("table or string"),
        "pull": Key("string", '"missing"'),
        "kind": Key("string", '"service"'),
        "root": Key("string", '"overlay"'),
        "read_only": Key("boolean", "false"),
        "volatile": Key("boolean", "false"),
        "user": Key("string"),
        "working_dir": Key("string"),
        "entrypoint": Key("list or string"),
        "command": Key("list or string"),
        "environment": Key("table or list", "{}"),
        "env_file": Key("list or string", "[]"),
        "volumes": Key("list", "[]"),
        "networks": Key("list, table or string", '["default"]'),
        "init": Key("boolean", "true"),
        "essential": Key("boolean", "false"),
        "limits": Key("table", "{}"),
        "health": Key("table or string"),
        "startup": Key("table"),
        "restart": Key("string or table", '"on-failure"'),
        "stop": Key("table", "{}"),
        "max_runtime": Key("duration"),
        "schedule": Key("table"),
        "depends_on": Key("table or list", "{}"),
        "replicas": Key("count", "1"),
        "update": Key("table", "{}"),
        "ports": Key("list", "[]"),
        "hostname": Key("string"),
        "extra_hosts": Key("table", "{}"),
        "ulimits": Key("table", "{}"),
        "sysctls": Key("table", "{}"),
        "capabilities": Key("table", "{}"),
        "user_namespace": Key("string", '"auto"'),
        "security": Key("table", "{}"),
        "labels": Key("table", "{}"),
        "secrets": Key("list", "[]"),
        "configs": Key("list", "[]"),
        "on_change": Key("string", '"restart"'),
        "profiles": Key("list", "[]"),
        "extends": Key("string or table"),
        "devices": _later("list"),
    }
)

INCLUDE: Final[Section] = MappingProxyType(
    {
        "file": Key("string"),
        "environment": Key("table", "{}"),
    }
)

EXTENDS: Final[Section] = MappingProxyType(
    {
        "file": Key("string"),
        "container": Key("string"),
    }
)

LIMITS: Final[Section] = MappingProxyType(
    {
        "memory": Key("size"),
        "memory_high": Key("size"),
        "swap": Key("size"),
        "cpus": Key("number"),
        "cpu_weight": Key("count"),
        "cpuset": Key("string"),
        "pids": Key("count", "4096"),
        "io_weight": Key("count"),
    }
)

HEALTH: Final[Section] = MappingProxyType(
    {
        "exec": Key("list or string"),
        "tcp": Key("count"),
        "http": Key("string"),
        "log": Key("string"),
        "notify": Key("boolean"),
        "interval": Key("duration", '"30s"'),
        "timeout": Key("duration", '"5s"'),
        "retries": Key("count", "3"),
        "start_period": Key("duration", '"0s"'),
        "on_failure": Key("string", '"restart"'),
    }
)

STARTUP: Final[Section] = MappingProxyType(
    {
        "exec": Key("list or string"),
        "tcp": Key("count"),
        "http": Key("string"),
        "log": Key("string"),
        "notify": Key("boolean"),
        "interval": Key("duration", '"1s"'),
        "timeout": Key("duration", '"5s"'),
        "retries": Key("count", "30"),
    }
)

RESTART: Final[Section] = MappingProxyType(
    {
        "when": Key("string", '"on-failure"'),
        "delay": Key("duration", '"100ms"'),
        "factor": Key("number", "2.0"),
        "max_delay": Key("duration", '"60s"'),
        "jitter": Key("number", "0.1"),
        "max": Key("count"),
        "window": Key("duration", '"10m"'),
        "reset_after": Key("duration", '"10s"'),
        "on_exit_codes": Key("list"),
        "never_on_exit_codes": Key("list", "[]"),
    }
)

BUILD: Final[Section] = MappingProxyType(
    {
        "context": Key("string", '"."'),
        "dockerfile": Key("string", '"Dockerfile"'),
        "args": Key("table or list", "{}"),
        "target": Key("string"),
    }
)

STOP: Final[Section] = MappingProxyType(
    {
        "signal": Key("string", '"TERM"'),
        "grace": Key("duration", '"10s"'),
        "command": Key("list or string"),
    }
)

SCHEDULE: Final[Section] = MappingProxyType(
    {
        "every": Key("duration"),
        "cron": Key("string"),
        "timezone": Key("string"),
        "overlap": Key("string", '"skip"'),
        "catch_up": Key("boolean", "false"),
    }
)

DEPENDENCY: Final[Section] = MappingProxyType(
    {
        "condition": Key("string", '"started"'),
        "on_restart": Key("string", '"ignore"'),
    }
)

UPDATE: Final[Section] = MappingProxyType(
    {
        "order": Key("string", '"stop-first"'),
        "parallelism": Key("count", "1"),
        "monitor": Key("duration", '"0s"'),
        "drain": Key("duration", '"1s"'),
        "on_failure": Key("string", '"pause"'),
    }
)

GRANT: Final[Section] = MappingProxyType(
    {
        "source": Key("string"),
        "target": Key("string"),
        "mode": Key("string"),
        "owner": Key("string"),
    }
)
"""One entry of a container's `secrets` or `configs`; what it leaves out, its source says."""

ATTACHMENT: Final[Section] = MappingProxyType(
    {
        "aliases": Key("list", "[]"),
        "address": Key("string"),
    }
)

CAPABILITIES: Final[Section] = MappingProxyType(
    {
        "add": Key("list", "[]"),
        "drop": Key("list", "[]"),
    }
)

SECURITY: Final[Section] = MappingProxyType(
    {
        "no_new_privileges": Key("boolean", "true"),
        "masked_paths": Key("string", '"default"'),
        "seccomp": _later("string"),
    }
)

NETWORK: Final[Section] = MappingProxyType(
    {
        "subnet": Key("string"),
        "internal": Key("boolean", "false"),
        "ipv6": Key("boolean", "false"),
    }
)

VOLUME: Final[Section] = MappingProxyType({})

SECRET: Final[Section] = MappingProxyType(
    {
        "file": Key("string"),
        "environment": Key("string"),
        "mode": Key("string", '"0400"'),
        "owner": Key("string"),
    }
)

CONFIG: Final[Section] = MappingProxyType(
    {
        "file": Key("string"),
        "environment": Key("string"),
        "content": Key("string"),
        "mode": Key("string", '"0444"'),
        "owner": Key("string"),
    }
)

SECTIONS: Final[Mapping[str, Section]] = MappingProxyType(
    {
        "": DOCUMENT,
        "fleet": FLEET,
        "containers.NAME": CONTAINER,
        "containers.NAME.build": BUILD,
        "containers.NAME.limits": LIMITS,
        "containers.NAME.health": HEALTH,
        "containers.NAME.startup": STARTUP,
        "containers.NAME.restart": RESTART,
        "containers.NAME.stop": STOP,
        "containers.NAME.schedule": SCHEDULE,
        "containers.NAME.depends_on.NAME": DEPENDENCY,
        "containers.NAME.update": UPDATE,
        "containers.NAME.secrets": GRANT,
        "containers.NAME.configs": GRANT,
        "containers.NAME.networks.NAME": ATTACHMENT,
        "containers.NAME.capabilities": CAPABILITIES,
        "containers.NAME.security": SECURITY,
        "networks.NAME": NETWORK,
        "volumes.NAME": VOLUME,
        "secrets.NAME": SECRET,
        "configs.NAME": CONFIG,
    }
)

ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cap_add": "capabilities.add",
        "cap_drop": "capabilities.drop",
        "cpus": "limits.cpus",
        "cpuset": "limits.cpuset",
        "deploy": "replicas",
        "env": "environment",
        "gid": "owner",
        "healthcheck": "health",
        "mem_limit": "limits.memory",
        "memory": "limits.memory",
        "network_mode": "networks",
        "pids_limit": "limits.pids",
        "pre_stop": "stop.command",
        "privileged": "capabilities.add",
        "pull_policy": "pull",
        "ready_log_line": "health.log",
        "restart_policy": "restart",
        "rollback_config": "update",
        "scale": "replicas",
        "security_opt": "security",
        "services": "containers",
        "stop_grace_period": "stop.grace",
        "stop_signal": "stop.signal",
        "test": "exec",
        "tmpfs": "volumes",
        "uid": "owner",
        "update_config": "update",
        "userns_mode": "user_namespace",
        "workdir": "working_dir",
    }
)
"""Words of compose and of other tools, with what they are called here."""
