"""What differs between two fleets, and how updates stand, as operators see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from anchor_supervisor.control.shapes import ContainerChange, KeyChange, Plan, UpdateRow
from anchor_supervisor.fleet.diff import (
    Change,
    ContainerChanges,
    Effect,
    changes,
    effect_between,
)
from anchor_supervisor.fleet.model import Container, Fleet, InstanceId
from anchor_supervisor.fleet.places import join
from anchor_supervisor.supervision.commands import UpdateResult
from anchor_supervisor.supervision.update import UpdateStatus
from anchor_supervisor.values import evolve

Update = UpdateStatus


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


def update_words(update: Update) -> str | None:
    """An update that is under way, or did not get to its end: ``3 of 5 replaced, paused: ...``."""
    if update.result in {UpdateResult.DONE, UpdateResult.SUPERSEDED}:
        return None
    if update.result is UpdateResult.ROLLED_BACK:  # nothing of it is left to be counted
        return f"{update.result}: {update.reason}" if update.reason else str(update.result)
    counted = f"{update.replaced} of {update.total} replaced"
    result = f", {update.result}" if update.result is not None else ""
    return counted + result + (f": {update.reason}" if update.reason else "")


def as_it_runs(present: Fleet, made_of: Mapping[InstanceId, Container], new: Fleet) -> Fleet:
    """The fleet `present` as its instances really are: an update may have stopped half-way.

    Of a container's instances the one counts that is furthest from `new`.
    """
    found = dict(present.containers)
    for instance, container in made_of.items():
        wanted = new.containers.get(instance.container)
        here = found.get(instance.container)
        if wanted is None or here is None:
            continue
        really = evolve(container, replicas=here.replicas)
        if effect_between(really, wanted) > effect_between(here, wanted):
            found[instance.container] = really
    return evolve(present, containers=found)


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
