"""What differs between two fleets, key by key, and what it takes to bring it about.

Pure: two complete fleets in (images resolved, mounted files hashed), changes out. Of secrets,
environment variables and build arguments it is told that they differ, never what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.fleet.effects import (
    EFFECTS,
    Effect,
    content_effect,
    effect_between,
    field_effect,
)
from anchor_supervisor.fleet.leaves import Leaf, key_of, leaves_of, network_leaves
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.spelling import words_of
from anchor_supervisor.values import field, field_names, frozen

__all__ = [
    "EFFECTS",
    "Change",
    "ContainerChanges",
    "Effect",
    "FleetChanges",
    "changes",
    "content_effect",
    "effect_between",
    "field_effect",
]

_CHANGED: Final = "changed"


@final
@frozen
class Change:
    """One key that differs, by its whole path: `containers.web.limits.memory`.

    `before` and `after` are its values as a person writes them; None: it is not there.
    """

    key: str
    before: str | None
    after: str | None
    effect: Effect


@final
@frozen
class ContainerChanges:
    """What differs in one container that both fleets have, and how many there are of it."""

    changes: tuple[Change, ...]
    replicas_before: int
    replicas: int

    @property
    def effect(self) -> Effect:
        """The greatest effect of all: what happens to each of its instances."""
        return max((change.effect for change in self.changes), default=Effect.NOTHING)


@final
@frozen
class FleetChanges:
    """Everything that differs, by container in the new file's order.

    `fleet` are keys of the fleet itself, its networks and its volumes; `added` and `removed` are
    names of containers. It is false where nothing differs.
    """

    fleet: tuple[Change, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    containers: Mapping[str, ContainerChanges] = field(factory=lambda: MappingProxyType({}))

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.fleet or self.added or self.removed or self.containers)


def changes(old: Fleet, new: Fleet) -> FleetChanges:
    """Return what has to be done to `old` to make it `new`."""
    both = {
        name: (old.containers[name], container)
        for name, container in new.containers.items()
        if name in old.containers
    }
    found = {
        name: ContainerChanges(told, before.replicas, after.replicas)
        for name, (before, after) in both.items()
        if (told := container_changes(before, after))
    }
    return FleetChanges(
        fleet=tuple(_fleet_changes(old, new)),
        added=tuple(name for name in new.containers if name not in old.containers),
        removed=tuple(name for name in old.containers if name not in new.containers),
        containers=MappingProxyType(found),
    )


def container_changes(old: Container, new: Container) -> tuple[Change, ...]:
    """Return every key that differs between two states of one container, in the model's order."""
    return tuple(
        change
        for name in field_names(Container)
        if getattr(old, name) != getattr(new, name)
        for change in _field_changes(name, old, new)
    )


def _field_changes(name: str, old: Container, new: Container) -> Iterator[Change]:
    """Compare the leaves; what no leaf tells, such as another order, is told of the whole field."""
    whole = field_effect(name, old, new)
    greatest = Effect.NOTHING
    for before, after in _pairs(leaves_of(name, old), leaves_of(name, new)):
        leaf = after or before
        assert leaf is not None
        effect = content_effect(new.on_change) if leaf.content else whole
        greatest = max(greatest, effect)
        yield _change(_whole_path(new.name, leaf), before, after, effect)
    if greatest < whole:
        key = join(join("containers", new.name), key_of(name))
        yield Change(key, "the same", "in another order", whole)


def _pairs(old: Iterator[Leaf], new: Iterator[Leaf]) -> Iterator[tuple[Leaf | None, Leaf | None]]:
    """Yield the leaves that differ, the old ones' order first."""
    before = {(leaf.path, leaf.mark): leaf for leaf in old}
    after = {(leaf.path, leaf.mark): leaf for leaf in new}
    for place in {**before, **after}:
        one, other = before.get(place), after.get(place)
        if one is None or other is None:
            alone = one or other
            if alone is not None and not alone.usual and alone.words is not None:
                yield one, other
        elif one.value != other.value:
            yield one, other


def _change(key: str, before: Leaf | None, after: Leaf | None, effect: Effect) -> Change:
    if before is not None and after is not None and before.hidden:
        changed = f"{after.words} {_CHANGED}" if after.content else _CHANGED
        return Change(key, before.words, changed, effect)
    return Change(
        key,
        None if before is None else before.words,
        None if after is None else after.words,
        effect,
    )


def _whole_path(container: str, leaf: Leaf) -> str:
    """A network's own table is not the container's."""
    return leaf.path if leaf.shared else f"{join('containers', container)}.{leaf.path}"


def _fleet_changes(old: Fleet, new: Fleet) -> Iterator[Change]:
    for key, effect in (
        ("name", Effect.RECREATE),
        ("limits", Effect.NOTHING),
        ("parallel", Effect.LIVE),
    ):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield Change(join("fleet", key), words_of(before), words_of(after), effect)
    for name in {**old.networks, **new.networks}:
        ours, theirs = old.networks.get(name), new.networks.get(name)
        if ours is None or theirs is None:
            yield _declaration(join("networks", name), gone=theirs is None)
            continue
        for one, other in _pairs(network_leaves(ours), network_leaves(theirs)):
            leaf = other or one
            assert leaf is not None
            yield _change(leaf.path, one, other, Effect.RECREATE)
    for name in sorted(old.volumes ^ new.volumes):
        yield _declaration(join("volumes", name), gone=name in old.volumes)


def _declaration(key: str, *, gone: bool) -> Change:
    word = "declared"
    return Change(key, word if gone else None, None if gone else word, Effect.NOTHING)
