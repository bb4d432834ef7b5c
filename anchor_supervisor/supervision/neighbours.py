"""What the instances around one mean to it: open gates, closed gates, and who is still up.

It looks; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import final

from anchor_supervisor.fleet.model import Condition, Fleet, InstanceId
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.order import Order, Wait, holds, present
from anchor_supervisor.supervision.states import State


@final
class Neighbours:
    """The instances of a fleet, seen along its dependencies.

    A dependency on a container with replicas is one on each of them.
    """

    def __init__(self, fleet: Fleet, members: Mapping[InstanceId, Instance]) -> None:
        """Lay the graph over the instances; raises SupervisionBug where it is not a graph."""
        self._order = Order(fleet)
        grouped: dict[str, list[Instance]] = {name: [] for name in fleet.containers}
        for member in members.values():
            grouped[member.id.container].append(member)
        self.replicas = {name: tuple(group) for name, group in grouped.items()}
        self.rising = tuple(m for name in self._order.containers for m in self.replicas[name])

    def dependents(self, member: Instance) -> Iterator[Instance]:
        """Yield the instances whose gates look at this one."""
        for name in self._order.dependents[member.id.container]:
            yield from self.replicas[name]

    def dependencies(self, member: Instance) -> Iterator[tuple[Condition, Instance]]:
        """Yield the instances that this one's gates look at, each with what it must be."""
        for name, condition in member.container.depends_on.items():
            for replica in self.replicas[name]:
                yield condition, replica

    def closed_gates(self, member: Instance) -> Iterator[tuple[Condition, Instance]]:
        """Yield the dependencies that are not what they must be."""
        for condition, replica in self.dependencies(member):
            if not holds(condition, replica.state, replica.health):
                yield condition, replica

    def gates_open(self, member: Instance) -> bool:
        """Whether every dependency is what it must be for this instance to start."""
        return next(self.closed_gates(member), None) is None

    def dependents_down(self, member: Instance) -> bool:
        """Whether nothing that depends on this instance is up, or on its way."""
        return all(dependent.state in DOWN for dependent in self.dependents(member))

    def stuck(self) -> frozenset[InstanceId]:
        """Return the instances that will not move until an operator acts."""
        stuck: set[InstanceId] = set()
        for member in self.rising:
            if member.over or (
                member.state is State.WAITING
                and any(replica.id in stuck for _, replica in self.closed_gates(member))
            ):
                stuck.add(member.id)
        return frozenset(stuck)

    def waits(self, member: Instance, stuck: frozenset[InstanceId]) -> tuple[Wait, ...]:
        """Return the closed gates as values that can be told."""
        return tuple(
            Wait(
                replica.id.container,
                condition,
                replica.id,
                present(replica.name, replica.state, replica.health),
                replica.id in stuck,
            )
            for condition, replica in self.closed_gates(member)
        )

    def why_held(self, member: Instance) -> str:
        """Return the closed gates in words, as far as the dependencies' own states tell."""
        down = frozenset(r.id for _, r in self.closed_gates(member) if r.over)
        return "; ".join(str(wait) for wait in self.waits(member, down))
