"""One `[containers.NAME]` table, read into a `Container`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from anchor_supervisor.fleet import policies, schema, values
from anchor_supervisor.fleet.attachments import attachments
from anchor_supervisor.fleet.model import (
    Build,
    Capabilities,
    Container,
    Grant,
    Health,
    Image,
    ImageKind,
    Kind,
    Port,
    Pull,
    Reaction,
    ReactionKind,
    RestartPolicy,
    RootStrategy,
    Startup,
    UserNamespace,
    Volume,
)
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.profiles import profiles
from anchor_supervisor.fleet.reactions import dependencies, reaction
from anchor_supervisor.fleet.sheet import Sheet, Table, located
from anchor_supervisor.fleet.surroundings import Surroundings
from anchor_supervisor.fleet.tree import Origin
from anchor_supervisor.fleet.wording import Mistake, did_you_mean, show

if TYPE_CHECKING:
    from anchor_supervisor.fleet.schedule_model import Schedule

MOST_REPLICAS: Final = 1000
SHORTEST_RUN: Final = 0.1  # seconds
UNLIMITED: Final = -1
"""RLIM_INFINITY, as the standard library's `resource` has it."""


# What few containers ask for is loaded with the first that does.


def container(sheet: Sheet, name: str, value: object, around: Surroundings) -> Container:
    """Read the whole table. What is wrong goes to the sheet and gets its default here."""
    table = Table(sheet, join("containers", name), value, schema.CONTAINER)
    if not {"image", "build"} & table.given and not sheet.blames(table.path):
        sheet.report(table.path, "`image` is missing", 'image = "host" needs no download')
    kind = table.read("kind", values.choice(Kind), Kind.SERVICE)
    mode, networks = attachments(table)
    conditions, reactions = dependencies(sheet, table.at("depends_on"), table.get("depends_on", {}))
    security = Table(sheet, table.at("security"), table.get("security", {}), schema.SECURITY)
    return Container(
        name=name,
        image=table.read(
            "image", values.image(table.origin("image").directory), _built(around, name)
        ),
        build=_build(table),
        pull=table.read("pull", values.choice(Pull), Pull.MISSING),
        kind=kind,
        root=table.read("root", values.choice(RootStrategy), RootStrategy.OVERLAY),
        read_only=table.read("read_only", values.boolean, default=False),
        volatile=table.read("volatile", values.boolean, default=False),
        user=table.read("user", values.plain, None),
        working_dir=table.read("working_dir", values.filled_text, None),
        entrypoint=table.read("entrypoint", values.words, None),
        command=table.read("command", values.words, None),
        environment=_environment(table, around),
        volumes=_volumes(table),
        network_mode=mode,
        networks=networks,
        init=table.read("init", values.boolean, default=True),
        essential=table.read("essential", values.boolean, default=False),
        limits=policies.limits(sheet, table.at("limits"), table.get("limits", {})),
        health=_health(table),
        image_health="health" not in table,
        restart=_restart(table, kind),
        stop=policies.stop(sheet, table.at("stop"), table.get("stop", {})),
        depends_on=conditions,
        ports=_ports(table),
        replicas=table.read("replicas", values.whole(1, MOST_REPLICAS), 1),
        hostname=table.read("hostname", values.filled_text, None),
        extra_hosts=table.entries("extra_hosts", values.filled_text),
        ulimits=table.entries("ulimits", _ulimit),
        sysctls=table.entries("sysctls", values.plain),
        capabilities=_capabilities(table),
        user_namespace=table.read(
            "user_namespace", values.choice(UserNamespace, later={"keep-id"}), UserNamespace.AUTO
        ),
        no_new_privileges=security.read("no_new_privileges", values.boolean, default=True),
        masked_paths=security.read("masked_paths", _masked_paths, default=True),
        labels=table.entries("labels", values.plain),
        startup=_startup(table),
        on_restart=reactions,
        on_change=table.read("on_change", reaction, Reaction(ReactionKind.RESTART)),
        max_runtime=table.read("max_runtime", values.duration(SHORTEST_RUN), None),
        schedule=_schedule(table, around),
        update=policies.update(sheet, table.at("update"), table.get("update", {})),
        grants=_grants(table, around),
        profiles=profiles(table),
    )


def _volumes(table: Table) -> tuple[Volume, ...]:
    if "volumes" not in table:
        return ()
    from anchor_supervisor.fleet.mounts import volume

    return table.located("volumes", lambda origin: volume(origin.directory))


def _health(table: Table) -> Health | None:
    if "health" not in table or table.get("health") == "none":
        return None
    from anchor_supervisor.fleet import probes

    return probes.health(table.sheet, table.at("health"), table.get("health"))


def _startup(table: Table) -> Startup | None:
    if "startup" not in table:
        return None
    from anchor_supervisor.fleet import probes

    return probes.startup(table.sheet, table.at("startup"), table.get("startup"))


def _schedule(table: Table, around: Surroundings) -> Schedule | None:
    if "schedule" not in table:
        return None
    from anchor_supervisor.fleet import schedules

    path = table.at("schedule")
    return schedules.schedule(table.sheet, path, table.get("schedule"), around.read_bytes)


def _grants(table: Table, around: Surroundings) -> tuple[Grant, ...]:
    """Read `secrets`, then `configs`."""
    if not {"secrets", "configs"} & table.given:
        return ()
    from anchor_supervisor.fleet import grants

    return tuple(
        grant
        for kind, key in grants.TABLES.items()
        for grant in grants.grants(
            table.sheet, table.at(key), kind, table.get(key, []), around.sources
        )
    )


def _built(around: Surroundings, name: str) -> Image:
    """Return what an image is called that is built and not named, as compose calls it."""
    return Image(ImageKind.STORE, f"{around.fleet}-{name}")


def _build(table: Table) -> Build | None:
    """Read `build = "./context"`, or its table; a relative Dockerfile is beneath the context."""
    if "build" not in table:
        return None
    given = table.get("build")
    given = {"context": given} if isinstance(given, str) else given
    inner = Table(table.sheet, table.at("build"), given, schema.BUILD)
    directory = inner.origin("context").directory
    context = values.absolute(inner.read("context", values.filled_text, "."), directory)
    dockerfile = inner.read("dockerfile", values.filled_text, None)
    return Build(
        context,
        None if dockerfile is None else values.absolute(dockerfile, context),
        _arguments(inner),
        inner.read("target", values.filled_text, None),
    )


def _arguments(table: Table) -> Mapping[str, str]:
    """Read `args`, a table or a list of `K=V`."""
    if isinstance(table.get("args", {}), list):
        return MappingProxyType(dict(table.located("args", values.pair)))
    return table.entries("args", values.plain)


def _restart(table: Table, kind: Kind) -> RestartPolicy:
    if "restart" not in table:
        return policies.default_restart(kind)
    return policies.restart(table.sheet, table.at("restart"), table.get("restart"), kind)


def _environment(table: Table, around: Surroundings) -> Mapping[str, str]:
    """Lines of `env_file`, later files over earlier ones, then `environment` over them all."""
    given = values.one_or_more(table.get("env_file", []))
    reader = partial(_env_file, around)
    merged: dict[str, str] = {}
    for file in located(table.sheet, table.at("env_file"), given, reader):
        merged |= file
    path = table.at("environment")
    if isinstance(table.get("environment", {}), list):
        merged |= dict(table.located("environment", values.pair))
    else:
        merged |= table.entries("environment", values.plain)
    for name in merged:
        if not name or "=" in name or "\0" in name:
            table.sheet.report(path, f"{show(name)} is not a variable's name")
    return MappingProxyType(merged)


def _env_file(around: Surroundings, origin: Origin) -> Callable[[object], Mapping[str, str]]:
    from anchor_supervisor.fleet.env_file import parse_env

    def read(value: object) -> Mapping[str, str]:
        path = values.absolute(values.filled_text(value), origin.directory)
        return parse_env(around.read_text(path), file=path, environment=origin.environment)

    return read


def _ports(table: Table) -> tuple[Port, ...]:
    """Read every entry, up to a number of ports that no container needs."""
    if "ports" not in table:
        return ()
    from anchor_supervisor.fleet.ports import MOST_PORTS, ports

    count = 0

    def read(value: object) -> tuple[Port, ...]:
        nonlocal count
        entry = ports(value) if count <= MOST_PORTS else ()
        count += len(entry)
        if count > MOST_PORTS:
            message = f"more than {MOST_PORTS} ports are published here"
            raise Mistake(message)
        return entry

    return tuple(port for entry in table.items("ports", read) for port in entry)


def _ulimit(value: object) -> tuple[int, int]:
    """Read one number for both, or `[soft, hard]`; -1 or `unlimited` is no limit."""
    if isinstance(value, list):
        if len(value) != 2:
            message = f"{len(value)} numbers are given"
            raise Mistake(message, hint="`[soft, hard]`")
        return _rlimit(value[0]), _rlimit(value[1])
    return _rlimit(value), _rlimit(value)


def _rlimit(value: object) -> int:
    return UNLIMITED if value in ("unlimited", "-1") else values.whole(UNLIMITED, 2**63 - 1)(value)


def _capabilities(table: Table) -> Capabilities:
    path = table.at("capabilities")
    inner = Table(table.sheet, path, table.get("capabilities", {}), schema.CAPABILITIES)
    return Capabilities(add=inner.items("add", _capability), drop=inner.items("drop", _capability))


def _capability(value: object) -> str:
    return values.filled_text(value).upper().removeprefix("CAP_")


def _masked_paths(value: object) -> bool:
    word = values.text(value)
    if word not in ("default", "none"):
        hint = did_you_mean(word, ("default", "none"))
        message = f"{show(word)} is none of `default`, `none`"
        raise Mistake(message, hint=hint)
    return word == "default"
