"""What a container is made of, one leaf for each key that can differ by itself. Pure.

What could be a secret has no words: the values of secrets, configs, environment variables and
build arguments are compared by whoever compares leaves, and never told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.fleet import schema
from anchor_supervisor.fleet.model import Attachment, Container, Health, Network, Startup
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.schema import Section
from anchor_supervisor.fleet.spelling import (
    grant_words,
    image_words,
    port_words,
    probe_words,
    reaction_words,
    volume_words,
    words_of,
)
from anchor_supervisor.values import evolve, field_names, frozen

UNSAID: Final = frozenset({"name", "complete", "image_health"})
"""Fields of the model that are no key of the file: they follow from others."""

_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "network_mode": "networks",
        "no_new_privileges": "security.no_new_privileges",
        "masked_paths": "security.masked_paths",
        "grants": "secrets",
    }
)
"""Fields whose key has another name."""


@final
@frozen
class Leaf:
    """One value. `path` is the key beneath its container's table, `words` None: not there.

    `mark` tells leaves of one path apart. A leaf that is `usual`, the default beside others, is
    not worth telling where it comes or goes with them. Of one that is `hidden` no value is told;
    `content` is that of a file, whose change has an effect of its own; what is `shared` is not in
    the container's table but in another, and `path` its whole path.
    """

    path: str
    value: object
    words: str | None
    mark: str = ""
    usual: bool = False
    hidden: bool = False
    content: bool = False
    shared: bool = False


Leaves = Iterator[Leaf]


def key_of(field: str) -> str:
    """Return the key of the file that a field of the model comes from."""
    return _ELSEWHERE.get(field, field)


def leaves_of(field: str, container: Container) -> Leaves:
    """Yield the leaves of one field of the model; none for what is no key of the file."""
    if field in UNSAID:
        return
    special = _SPECIAL.get(field)
    if special is not None:
        yield from special(container)
        return
    value = getattr(container, field)
    key = schema.CONTAINER.get(field)
    yield Leaf(key_of(field), value, words_of(value, key.type if key else ""))


def network_leaves(network: Network) -> Leaves:
    """Yield what a network's own table says, by the whole path of its keys."""
    here = join("networks", network.name)
    yield Leaf(join(here, "subnet"), network.subnet, words_of(network.subnet))
    yield Leaf(join(here, "internal"), network.internal, words_of(network.internal), usual=True)


def _table(path: str, section: Section, value: object, usual: object) -> Leaves:
    """Yield a leaf for each key of a policy; `usual` is one with its defaults."""
    declared: frozenset[str] | None = getattr(value, "declared", None)
    for name in field_names(type(value)):
        if name in {"declared", "probe"}:
            continue
        one, key = getattr(value, name), section[name]
        words = words_of(one, key.type)
        said = declared is None or name in declared or name == "command"
        if words is not None and not said:
            words += " by default"
        yield Leaf(join(path, name), (one, said), words, usual=one == getattr(usual, name))


def _probed(path: str, section: Section, value: Health | Startup | None) -> Leaves:
    if value is None:
        return
    key, words = probe_words(value.probe)
    yield Leaf(join(path, key), value.probe, words)
    yield from _table(path, section, value, type(value)(value.probe))


def _hidden(path: str, variables: Mapping[str, str]) -> Leaves:
    for name, value in variables.items():
        yield Leaf(join(path, name), value, "set", hidden=True)


def _plain(path: str, entries: Mapping[str, str]) -> Leaves:
    for name, value in entries.items():
        yield Leaf(join(path, name), value, words_of(value))


def _build(container: Container) -> Leaves:
    build = container.build
    if build is None:
        return
    for name in ("context", "dockerfile", "target"):
        value = getattr(build, name)
        yield Leaf(f"build.{name}", value, words_of(value), usual=value is None)
    yield from _hidden("build.args", build.args)


def _volumes(container: Container) -> Leaves:
    for index, volume in enumerate(container.volumes):
        twice = any(one.target == volume.target for one in container.volumes[:index])
        mark = str(index) if twice else ""
        path = join("volumes", volume.target)
        yield Leaf(path, evolve(volume, content=None), volume_words(volume), mark)
        content = volume.content
        yield Leaf(
            path, content, "content", f"{mark} content", hidden=True, content=True, usual=True
        )


def _grants(container: Container) -> Leaves:
    for index, grant in enumerate(container.grants):
        twice = any(one.target == grant.target for one in container.grants[:index])
        mark = str(index) if twice else ""
        path = join(f"{grant.kind}s", grant.target)
        yield Leaf(path, evolve(grant, content=b""), grant_words(grant), mark)
        content = grant.content
        yield Leaf(
            path, content, "content", f"{mark} content", hidden=True, content=True, usual=True
        )


def _networks(container: Container) -> Leaves:
    plain = Attachment()
    for name, attachment in container.networks.items():
        path = join("networks", name)
        yield Leaf(path, name, "attached")
        for key in ("aliases", "address"):
            value = getattr(attachment, key)
            words = words_of(value) or None
            yield Leaf(join(path, key), value, words, usual=value == getattr(plain, key))
        if attachment.network is not None:
            for leaf in network_leaves(attachment.network):
                yield evolve(leaf, usual=True, shared=True)


def _depends_on(container: Container) -> Leaves:
    for name, condition in container.depends_on.items():
        yield Leaf(join("depends_on", name), condition, words_of(condition))


def _on_restart(container: Container) -> Leaves:
    for name, reaction in container.on_restart.items():
        path = join(join("depends_on", name), "on_restart")
        yield Leaf(path, reaction, reaction_words(reaction))


def _ports(container: Container) -> Leaves:
    for port in container.ports:
        yield Leaf("ports", port, port_words(port), port_words(port))


def _ulimits(container: Container) -> Leaves:
    for name, (soft, hard) in container.ulimits.items():
        words = str(soft) if soft == hard else f"[{soft}, {hard}]"
        yield Leaf(join("ulimits", name), (soft, hard), words)


def _schedule(container: Container) -> Leaves:
    if container.schedule is not None:
        usual = type(container.schedule)()
        yield from _table("schedule", schema.SCHEDULE, container.schedule, usual)


def _capabilities(container: Container) -> Leaves:
    for name in ("add", "drop"):
        value: tuple[str, ...] = getattr(container.capabilities, name)
        yield Leaf(f"capabilities.{name}", value, words_of(value) or None)


def _masked_paths(container: Container) -> Leaves:
    masked = container.masked_paths
    yield Leaf("security.masked_paths", masked, "default" if masked else "none")


def _policy(key: str, section: Section) -> Callable[[Container], Leaves]:
    def leaves(container: Container) -> Leaves:
        value = getattr(container, key)
        yield from _table(key, section, value, value)

    return leaves


_SPECIAL: Final[Mapping[str, Callable[[Container], Leaves]]] = MappingProxyType(
    {
        "image": lambda one: iter([Leaf("image", one.image, image_words(one.image))]),
        "build": _build,
        "environment": lambda one: _hidden("environment", one.environment),
        "volumes": _volumes,
        "networks": _networks,
        "limits": _policy("limits", schema.LIMITS),
        "health": lambda one: _probed("health", schema.HEALTH, one.health),
        "startup": lambda one: _probed("startup", schema.STARTUP, one.startup),
        "restart": _policy("restart", schema.RESTART),
        "stop": _policy("stop", schema.STOP),
        "depends_on": _depends_on,
        "on_restart": _on_restart,
        "ports": _ports,
        "extra_hosts": lambda one: _plain("extra_hosts", one.extra_hosts),
        "ulimits": _ulimits,
        "sysctls": lambda one: _plain("sysctls", one.sysctls),
        "capabilities": _capabilities,
        "masked_paths": lambda one: iter(
            [
                Leaf(
                    "security.masked_paths",
                    one.masked_paths,
                    "default" if one.masked_paths else "none",
                )
            ]
        ),
        "labels": lambda one: _plain("labels", one.labels),
        "schedule": _schedule,
        "update": _policy("update", schema.UPDATE),
        "grants": _grants,
    }
)
