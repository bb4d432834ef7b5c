"""What differs between two fleets, and how updates stand, as operators see it. Pure."""

from __future__ import annotations

from typing import Protocol

from attrs import fields_dict

from anchor_supervisor.control.shapes import ContainerChange, KeyChange, Plan, UpdateRow
from anchor_supervisor.fleet.diff import Effect, effect_between, field_effect
from anchor_supervisor.fleet.model import Container, Fleet
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
    changes = [_change(old.containers.get(name), one) for name, one in new.containers.items()]
    gone = [_stop(one) for name, one in old.containers.items() if name not in new.containers]
    found = [change for change in changes if change is not None]
    return Plan(fleet=old.name, running=True, keys=[], containers=found + gone)


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


def _change(old: Container | None, new: Container) -> ContainerChange | None:
    if old is None:
        return start_view(new)
    keys = [
        KeyChange(key=name, before=None, after=None, effect=effect_word(effect))
        for name in fields_dict(Container)
        if (effect := field_effect(name, old, new)) is not Effect.NOTHING
    ]
    if not keys:
        return None
    return ContainerChange(
        container=new.name,
        action="change",
        effect=effect_word(effect_between(old, new)),
        replicas_before=old.replicas,
        replicas=new.replicas,
        keys=keys,
    )
