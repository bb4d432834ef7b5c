"""What a restart of one container means to those that depend on it: `on_restart`.

A restart is told when the old run is over and another is to come; one that gives up for good
tells nothing, until an operator starts it again. A dependent that is to restart is stopped there
and then, and its gates see to the rest. One that is to be signalled hears of it once its
dependency is again what it must be.
"""

from __future__ import annotations

from typing import Final, final

from anchor_supervisor.fleet.model import InstanceId, ReactionKind
from anchor_supervisor.supervision.commands import Report, Signal
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.members import UP, Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.states import State

ENDED: Final = frozenset({State.RUNNING, State.STOPPING}) | DOWN
COMING: Final = frozenset({State.WAITING, State.BACKOFF})


@final
class Cascade:
    """The restarts that dependents have yet to be told of."""

    def __init__(self, members: Members, neighbours: Neighbours) -> None:
        """Begin with none."""
        self._members = members
        self._neighbours = neighbours
        self._restarted: list[Instance] = []
        self._owed: dict[tuple[str, InstanceId], float | None] = {}

    def hear(self, report: Report) -> None:
        """Note that an instance comes back, before it does."""
        if report.before not in ENDED or report.state not in COMING:
            return
        member = self._members.all[report.instance]
        new = member.life.started_at is None
        scheduled = member.container.schedule is not None
        depended_on = self._members.replicas.get(member.id.container, ())
        if not new and not scheduled and member in depended_on:
            self._restarted.append(member)

    def spread(self, now: float) -> None:
        """Stop the dependents that restart with what has restarted; remember who is signalled."""
        restarted, self._restarted = self._restarted, []
        for member in restarted:
            name = member.id.container
            for dependent in self._neighbours.dependents(member):
                reaction = self._neighbours.reaction(dependent, name)
                if reaction is None or dependent.state not in UP:
                    continue
                if reaction.kind is ReactionKind.RESTART:
                    dependent.restart(now, f"`{member.name}` restarts")
                elif dependent.state is State.RUNNING:
                    self._owed[name, dependent.id] = dependent.life.started_at

    def signals(self) -> tuple[Signal, ...]:
        """Return the signals whose time has come: the dependency is again what it must be."""
        due: list[Signal] = []
        for (name, identity), started_at in [*self._owed.items()]:
            dependent = self._members.all.get(identity)
            reaction = None if dependent is None else self._neighbours.reaction(dependent, name)
            if (
                dependent is None
                or reaction is None
                or reaction.signal is None
                or dependent.state is not State.RUNNING
                or dependent.life.started_at != started_at
            ):
                del self._owed[name, identity]
            elif self._neighbours.satisfied(dependent, name):
                del self._owed[name, identity]
                due.append(Signal(identity, reaction.signal))
        return tuple(due)
