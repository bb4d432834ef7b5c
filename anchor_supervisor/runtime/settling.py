"""Whether a change of a running fleet is through, and what of it did not come out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, final

from anchor_supervisor.control.shapes import ContainerChange, Plan, UpdateRow
from anchor_supervisor.fleet.diff import Effect
from anchor_supervisor.fleet.model import Container, Fleet, InstanceId, Kind, instances
from anchor_supervisor.runtime.plan_view import effect_word
from anchor_supervisor.supervision.commands import UpdateResult
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.supervision.status import Status
from anchor_supervisor.values import field, frozen

NEW_RUN: Final = frozenset({effect_word(Effect.RESTART), effect_word(Effect.RECREATE)})
ENDED: Final = frozenset({State.STOPPED, State.COMPLETED, State.FAILED, State.BACKOFF})
HOPELESS: Final = frozenset({State.STOPPED, State.FAILED, State.BACKOFF})
"""Who waits for something in one of these need not come soon, if ever."""


@final
@frozen
class Change:
    """A change that has begun: the fleet it leads to, and the instances that were down before.

    Those are down because an operator wants them so, and stay down.
    """

    fleet: Fleet
    plan: Plan
    down: frozenset[InstanceId]


@final
@frozen
class Present:
    """The fleet now: its instances, and the updates by container.

    `busy` are the instances that something is being done for beside their runs; `troubles` are
    what of that could not be done.
    """

    statuses: Mapping[InstanceId, Status]
    updates: Mapping[str, UpdateRow]
    busy: Collection[InstanceId] = ()
    troubles: Mapping[InstanceId, str] = field(factory=dict)


def settled(change: Change, present: Present) -> bool:
    """Whether nothing of the change is on its way any more, for better or worse."""
    rows = concerned_updates(change, present)
    return (
        not any(row["active"] for row in rows)
        and not any(_leaving(change, present))
        and not any(_concerns(change, instance) for instance in present.busy)
        and all(_has_come(status, change, present) for status in _expected(change, present))
    )


def failures(change: Change, present: Present) -> list[str]:
    """Say of each thing that is not as the file says what is the matter."""
    updates = [
        f"the update of `{row['container']}` {_went(row)}: {row['reason']}"
        for row in concerned_updates(change, present)
        if row["result"] not in {None, UpdateResult.DONE.value}
    ]
    unwell = [
        f"`{status.instance}` {_stands(status)}"
        for status in _expected(change, present)
        if not _is_well(status, change.fleet.containers[status.instance.container])
    ]
    undone = [
        f"`{instance}`: {trouble}"
        for instance, trouble in present.troubles.items()
        if _concerns(change, instance)
    ]
    return [*updates, *unwell, *undone]


def concerned_updates(change: Change, present: Present) -> list[UpdateRow]:
    """The updates of the containers that need new runs, in the plan's order."""
    names = (one["container"] for one in change.plan["containers"] if _needs_new_runs(one))
    return [present.updates[name] for name in names if name in present.updates]


def _concerns(change: Change, instance: InstanceId) -> bool:
    return any(one["container"] == instance.container for one in change.plan["containers"])


def _needs_new_runs(one: ContainerChange) -> bool:
    return one["action"] == "start" or (one["action"] == "change" and one["effect"] in NEW_RUN)


def _fallen(change: Change, present: Present) -> frozenset[str]:
    """The containers whose update did not get to its end: what is left of them is left."""
    return frozenset(
        row["container"]
        for row in concerned_updates(change, present)
        if not row["active"] and row["result"] != UpdateResult.DONE.value
    )


def _leaving(change: Change, present: Present) -> Iterator[InstanceId]:
    """The instances that are still there, and are not wanted any more."""
    concerned = {one["container"] for one in change.plan["containers"]}
    wanted = frozenset(instances(change.fleet))
    fallen = _fallen(change, present)
    for instance in present.statuses:
        if instance.container in concerned - fallen and instance not in wanted:
            yield instance


def _expected(change: Change, present: Present) -> Sequence[Status]:
    """The instances that the change starts, or starts anew."""
    fallen = _fallen(change, present)
    begun = {}
    for one in change.plan["containers"]:
        if one["action"] != "stop" and one["container"] not in fallen:
            begun[one["container"]] = 0 if _needs_new_runs(one) else one["replicas_before"]
    return [
        present.statuses[instance]
        for instance in instances(change.fleet)
        if instance.container in begun
        and instance.replica > begun[instance.container]
        and instance not in change.down
        and instance in present.statuses
    ]


def _has_come(status: Status, change: Change, present: Present) -> bool:
    """Whether an instance is where it will be for some time."""
    container = change.fleet.containers[status.instance.container]
    if status.state in ENDED or container.schedule is not None:
        return True
    if status.state is State.WAITING:
        return any(
            wait.dead
            or wait.instance not in present.statuses
            or present.statuses[wait.instance].state in HOPELESS
            for wait in status.waiting_on
        )
    running = status.state is State.RUNNING and container.kind is Kind.SERVICE
    return running and status.health is not HealthState.STARTING


def _is_well(status: Status, container: Container) -> bool:
    if container.schedule is not None:
        return status.state is not State.FAILED
    if container.kind is Kind.JOB:
        return status.state is State.COMPLETED
    return status.state is State.RUNNING and status.health is not HealthState.UNHEALTHY


def _stands(status: Status) -> str:
    word = str(status.health if status.state is State.RUNNING else status.state)
    how = "has failed" if status.state is State.FAILED else f"is {word}"
    # A reason that begins with the word says enough without it: `unhealthy: 3 probes failed`.
    return f"{how}: {status.reason.removeprefix(f'{word}: ')}"


def _went(row: UpdateRow) -> str:
    rolled_back = row["result"] == UpdateResult.ROLLED_BACK.value
    return "was rolled back" if rolled_back else f"is {row['result']}"
