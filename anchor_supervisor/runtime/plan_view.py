"""What differs between two fleets, and how updates stand, as operators see it. Pure."""

from __future__ import annotations

from typing import Protocol

from anchor_supervisor.control.shapes import ContainerChange, KeyChange, Plan, UpdateRow
from anchor_supervisor.fleet.diff import Change, ContainerChanges, Effect, changes
from anchor_supervisor.fleet.model import Container, Fleet
from anchor_supervisor.fleet.places import join
from anchor_supervisor.supervision.commands import UpdateResult


class Update(Protocol):
    """How the update of one container stands, as the core says it."""

    @property
    def container(self) -> str:
        """Whose it is."""
        ...

    @property
    def active(self) -> bool:
        """Whether it is under way."""
        ...

    @property
    def result(self) -> UpdateResult | None:
        """How it ended."""
        ...

    @property
    def reason(self) -> str:
        """Why, in words."""
        ...

    @property
    def replaced(self) -> int:
        """How many replicas are new."""
        ...

    @property
    def total(self) -> int:
        """Of how many."""
        ...


def effect_word(effect: Effect) -> str:
    """The effect as the plan says it: `restart`."""
    return effect.name.lower()


def update_row(update: Update) -> UpdateRow:
    """How the update of one container stands."""
    return UpdateRow(
        container=update.container,
        active=update.active,
        result=None if update.result is None else update.result.value,
        reason=update.reason,
        replaced=update.replaced,
        total=update.total,
    )


def plan_view(old: Fleet, new: Fleet) -> Plan:
    """What an apply of `new` would do to `old`, which runs."""
    found = changes(old, new)
    started = [start_view(new.containers[name]) for name in found.added]
    changed = [_change(name, one) for name, one in found.containers.items()]
    place = {name: number for number, name in enumerate(new.containers)}
    return Plan(
        fleet=old.name,
        running=True,
        keys=[_key(change, change.key) for change in found.fleet],
        containers=[
            *sorted([*started, *changed], key=lambda one: place[one["container"]]),
            *(_stop(old.containers[name]) for name in found.removed),
        ],
    )


def start_view(container: Container) -> ContainerChange:
    """A container that is to be started."""
    return ContainerChange(
        container=container.name,
        action="start",
        effect="start",
        replicas_before=0,
        replicas=container.replicas,
        keys=[],
    )


def _stop(container: Container) -> ContainerChange:
    return ContainerChange(
        container=container.name,
        action="stop",
        effect="stop",
        replicas_before=container.replicas,
        replicas=0,
        keys=[],
    )


def _change(name: str, one: ContainerChanges) -> ContainerChange:
    here = f"{join('containers', name)}."
    return ContainerChange(
        container=name,
        action="change",
        effect=effect_word(one.effect),
        replicas_before=one.replicas_before,
        replicas=one.replicas,
        keys=[_key(change, change.key.removeprefix(here)) for change in one.changes],
    )


def _key(change: Change, key: str) -> KeyChange:
    return KeyChange(
        key=key, before=change.before, after=change.after, effect=effect_word(change.effect)
    )
