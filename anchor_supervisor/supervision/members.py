"""Who belongs to the fleet: the replicas it wants, the additional ones of updates, the leaving.

It makes, replaces and dismisses instances as it is told; whether and when is decided elsewhere
(`change.py`, `update.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final, final

from anchor_supervisor.fleet.model import Container, Fleet, InstanceId, instances
from anchor_supervisor.supervision.census import Census
from anchor_supervisor.supervision.commands import Command, Remove, Report
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, HELD
from anchor_supervisor.supervision.shapes import Shapes
from anchor_supervisor.supervision.states import State
from anchor_supervisor.values import frozen

UP = frozenset({State.STARTING, State.RUNNING})

_PLACE: Final = attrgetter("container", "replica")  # compares much faster than instances do


@final
@frozen
class Departure:
    """Why an instance leaves, on what it depended until then, and in which change that was."""

    reason: str
    needs: frozenset[str]
    change: int


@final
class Members:
    """All instances. `replicas` and `extras` are by container and ordered by number.

    `parked` holds those that an operator wants down, `wall_offset` is what the wall clock is ahead
    of the monotonic one, for those that come. `touched` takes in whose neighbours must be looked
    at, also where no report says so.
    """

    def __init__(self, fleet: Fleet, emit: Callable[[Command], None]) -> None:
        """Make the instances of the first fleet."""
        self.fleet = fleet
        self._emit = emit
        self.touched: deque[Instance] = deque()
        self.shapes = Shapes(emit)
        self.census = Census()
        self.all: dict[InstanceId, Instance] = {}
        self.leaving: dict[InstanceId, Departure] = {}
        self.parked: set[InstanceId] = set()
        self.replicas: dict[str, tuple[Instance, ...]] = {}
        self.extras: dict[str, tuple[Instance, ...]] = {}
        self._change = 0
        self.wall_offset = 0.0
        for identity in instances(fleet):
            container = fleet.containers[identity.container]
            self.all[identity] = Instance(identity, container, emit)
            self.shapes.begin(self.all[identity])
            self.census.note(identity, State.WAITING)
        self._sort()

    def __iter__(self) -> Iterator[Instance]:
        """Yield every instance in the file's order, those of gone containers last."""
        shown = [m for name in self.fleet.containers for m in self.of(name)]
        yield from shown
        yield from (self.all[i] for i in self.leaving if i.container not in self.fleet.containers)

    def of(self, name: str) -> tuple[Instance, ...]:
        """Return every instance of a container, also the additional and the leaving ones."""
        going = tuple(self.all[i] for i in self.leaving if i.container == name)
        return self.replicas.get(name, ()) + self.extras.get(name, ()) + going

    def lasting(self, name: str) -> tuple[Instance, ...]:
        """Return every instance of a container that is not leaving."""
        return self.replicas[name] + self.extras.get(name, ())

    # The fleet as it should be.

    def follow(self, fleet: Fleet, now: float) -> tuple[InstanceId, ...]:
        """Let go what the fleet no longer wants, make what it wants more; return what is new.

        Additional replicas of updates stay, until an update dismisses them.
        """
        before, self.fleet = self.fleet, fleet
        self._change += 1
        for identity in [one for one in self.all if one not in self.leaving]:
            name = identity.container
            container = fleet.containers.get(name)
            if container is None:
                self._leave(identity, before, "removed from the file")
            elif (
                container.replicas < identity.replica <= before.containers[container.name].replicas
            ):
                self._leave(identity, before, f"scaled down to {container.replicas}")
        new: list[InstanceId] = []
        for identity in instances(fleet):
            if identity not in self.all:
                self._add(identity, fleet.containers[identity.container], now)
                new.append(identity)
            elif identity in self.leaving:
                del self.leaving[identity]
                if identity not in self.parked and self.all[identity].state not in UP:
                    self.all[identity].want(now, "wanted again")
        self._sort()
        return tuple(new)

    def add_extra(self, container: Container, now: float) -> Instance:
        """Make one more replica of a container than the file asks for."""
        number = container.replicas + 1
        while InstanceId(container.name, number) in self.all:
            number += 1
        member = self._add(InstanceId(container.name, number), container, now)
        self._sort()
        return member

    def dismiss(self, member: Instance, reason: str) -> None:
        """Let an instance go: it is stopped when its turn comes, and removed once it is down."""
        self._leave(member.id, self.fleet, reason)
        self._sort()

    # One instance.

    def replace(self, member: Instance, container: Container, reason: str, now: float) -> None:
        """Make an instance into `container` by a new run; one that should be down stays down."""
        self.shapes.aim(member, container)
        self.shapes.mould(member, now)
        if member.id in self.parked:
            return
        if member.state in UP:
            member.restart(now, reason, drain=self.drain(member))
        else:
            member.renew(now, reason)
            self.touched.append(member)

    def drain(self, member: Instance) -> float:
        """Return for how many seconds nothing new is led to it before it is stopped.

        That is of use only where it publishes ports and another replica takes over meanwhile.
        """
        if not member.container.ports or member.state is not State.RUNNING:
            return 0.0
        others = self.lasting(member.id.container) if member.id.container in self.replicas else ()
        if any(other is not member and other.ready for other in others):
            return member.container.update.drain
        return 0.0

    def see_off(self, member: Instance, now: float) -> None:
        """Bring an instance that leaves a step further, in the end out of the fleet."""
        reason = self.leaving[member.id].reason
        if member.state in HELD or member.state is State.STOPPING:
            member.stop(now, reason)
        elif member.state in UP and self.departs(member):
            member.stop(now, reason, drain=self.drain(member))
        if member.state in DOWN and member.life.pid is None:
            self._remove(member, reason)

    def departs(self, member: Instance) -> bool:
        """Whether all that leaves and depends on this instance, which leaves too, is gone."""
        change = self.leaving[member.id].change
        return not any(
            member.id.container in other.needs and other.change <= change
            for other in self.leaving.values()
        )

    # Books.

    def _add(self, identity: InstanceId, container: Container, now: float) -> Instance:
        member = self.all[identity] = Instance(identity, container, self._emit)
        self.census.note(identity, member.state)
        member.begin(now, self.wall_offset)
        self.shapes.add(member)
        self.touched.append(member)
        return member

    def _leave(self, identity: InstanceId, fleet: Fleet, reason: str) -> None:
        if identity not in self.leaving:
            needs = frozenset(fleet.containers[identity.container].depends_on)
            self.leaving[identity] = Departure(reason, needs, self._change)
            self.touched.append(self.all[identity])

    def _remove(self, member: Instance, reason: str) -> None:
        if not member.reason.startswith(reason):  # it was down already
            state = member.state
            self._emit(Report(member.id, state, state, member.health, reason, member.life.exit))
        self._emit(Remove(member.id))
        del self.all[member.id], self.leaving[member.id]
        self.parked.discard(member.id)
        self.census.forget(member.id)
        self.shapes.forget(member.id)

    def _sort(self) -> None:
        """Group the instances that stay."""
        replicas: dict[str, list[Instance]] = {name: [] for name in self.fleet.containers}
        extras: dict[str, list[Instance]] = {}
        for identity in sorted(self.all, key=_PLACE):
            if identity in self.leaving:
                continue
            wanted = identity.replica <= self.fleet.containers[identity.container].replicas
            group = replicas if wanted else extras
            group.setdefault(identity.container, []).append(self.all[identity])
        self.replicas = {name: tuple(group) for name, group in replicas.items()}
        self.extras = {name: tuple(group) for name, group in extras.items()}
