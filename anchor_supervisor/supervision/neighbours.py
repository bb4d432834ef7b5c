"""What the instances around one mean to it: open gates, closed gates, and who is still up.

It looks; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import final

from anchor_supervisor.fleet.model import Condition, InstanceId, Reaction, ReactionKind
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.members import Members
from anchor_supervisor.supervision.order import Order, Wait, holds, present
from anchor_supervisor.supervision.states import State


@final
class Neighbours:
    """The instances of a fleet, seen along its dependencies.

    A dependency on a container with replicas is one on each of them; the additional replicas of
    an update are nobody's dependency, but have dependencies of their own. What leaves is up to
    those that leave with it alone, and is waited for when what it depended on is stopped.
    """

    def __init__(self, order: Order, members: Members) -> None:
        """Lay the graph over the instances."""
        self._members = members
        self.order = order
        self._replicas: Mapping[str, tuple[Instance, ...]] = {}
        self._rising: tuple[Instance, ...] = ()
        # By container, found at the last look, which is where to look first: a dependency that is
        # not what it must be, and a dependent that is up. Nearly always they still are.
        self._closing: dict[str, Instance] = {}
        self._leaning: dict[str, Instance] = {}

    @property
    def rising(self) -> tuple[Instance, ...]:
        """The replicas that the fleet asks for, dependencies first."""
        self._follow()
        return self._rising

    def _follow(self) -> None:
        """Forget what was found, where others are in the fleet now."""
        if self._replicas is not self._members.replicas:
            self._replicas = self._members.replicas
            names = self.order.containers
            self._rising = tuple(m for name in names for m in self._replicas[name])
            self._closing, self._leaning = {}, {}

    @property
    def everyone(self) -> Iterator[Instance]:
        """Every instance, dependencies first, and what leaves at the end."""
        yield from (m for name in self.order.containers for m in self._members.lasting(name))
        yield from (self._members.all[identity] for identity in self._members.leaving)

    def dependents(self, member: Instance) -> Iterator[Instance]:
        """Yield the instances whose gates look at this one."""
        for several in self.groups_above(member):
            yield from several

    def groups_above(self, member: Instance) -> Iterator[tuple[Instance, ...]]:
        """Yield the same by container: what a gate is to one of them, it is to each."""
        for name in self.order.dependents.get(member.id.container, ()):
            yield self._members.lasting(name)

    def dependencies(self, member: Instance) -> Iterator[tuple[Condition, Instance]]:
        """Yield the instances that this one's gates look at, each with what it must be."""
        for name, condition in self._members.fleet.containers[
            member.id.container
        ].depends_on.items():
            for replica in self._members.replicas[name]:
                yield condition, replica

    def closed_gates(self, member: Instance) -> Iterator[tuple[Condition, Instance]]:
        """Yield the dependencies that are not what they must be."""
        for condition, replica in self.dependencies(member):
            if not holds(condition, replica.state, replica.health):
                yield condition, replica

    def gates_open(self, member: Instance) -> bool:
        """Whether every dependency is what it must be for this instance, and its like, to start."""
        self._follow()
        name = member.id.container
        replica = self._closing.get(name)
        if replica is not None:
            needs = self._members.fleet.containers[name].depends_on
            condition = needs.get(replica.id.container)
            if condition is not None and not holds(condition, replica.state, replica.health):
                return False
            del self._closing[name]
        for _, closed in self.closed_gates(member):
            self._closing[name] = closed
            return False
        return True

    def satisfied(self, member: Instance, name: str) -> bool:
        """Whether one of its dependencies is what it must be."""
        return all(replica.id.container != name for _, replica in self.closed_gates(member))

    def reaction(self, member: Instance, name: str) -> Reaction | None:
        """Return what a restart of `name` asks of an instance that stays, if anything."""
        container = self._members.fleet.containers.get(member.id.container)
        if container is None or member.id in self._members.leaving:
            return None
        reaction = container.on_restart.get(name)
        return None if reaction is None or reaction.kind is ReactionKind.IGNORE else reaction

    def beneath(self, member: Instance) -> Iterable[str]:
        """Return the containers whose stop may wait for this instance's."""
        departure = self._members.leaving.get(member.id)
        if departure is None:
            return self._members.fleet.containers[member.id.container].depends_on
        return departure.needs

    def dependents_down(self, member: Instance) -> bool:
        """Whether nothing that depends on this instance is up, or on its way.

        That is so for all of a container that stay, or for none of them.
        """
        if member.id in self._members.leaving:
            return self._members.departs(member)
        self._follow()
        name = member.id.container
        known = self._leaning.get(name)
        if known is not None and known.state not in DOWN:
            return False
        for dependent in self.dependents(member):
            if dependent.state not in DOWN:
                self._leaning[name] = dependent
                return False
        return not any(name in departure.needs for departure in self._members.leaving.values())

    def stuck(self) -> frozenset[InstanceId]:
        """Return the instances that will not move until an operator acts."""
        stuck: set[InstanceId] = set()
        for name in self.order.containers:
            for member in self._members.lasting(name):
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
