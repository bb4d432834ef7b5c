"""What the states of all instances mean for the fleet: ready, lost, or at its end.

It judges; whoever asks acts upon it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, final

from anchor_supervisor.fleet.model import Fleet, Kind
from anchor_supervisor.supervision.commands import Command, FleetDone, FleetReady, FleetUnready
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.members import Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.states import State

STILL: Final = DOWN | {State.WAITING}
"""The states in which nothing moves by itself."""

UNDONE: Final = DOWN - {State.COMPLETED}


@final
class Verdicts:
    """The judge of one fleet. What is said once is remembered here."""

    def __init__(
        self, members: Members, neighbours: Neighbours, emit: Callable[[Command], None]
    ) -> None:
        """Begin with nothing said."""
        self._members = members
        self._neighbours = neighbours
        self._emit = emit
        self._said_ready = False
        self._said_unready = False
        self._fleet: Fleet | None = None
        self._essential: tuple[str, ...] = ()
        self._only_jobs = False
        self._first_fleet = members.fleet
        self._place = 0  # of one that was not ready when we last looked

    def readiness(self) -> None:
        """Say once that the fleet is ready, or that it cannot become so by itself."""
        if self._said_ready:
            return
        members = self._neighbours.rising
        if self._all_ready(members):
            self._said_ready = True
            self._emit(FleetReady())
        elif not self._said_unready and self._may_be_lost():
            lost = next((m for m in members if m.state in DOWN and not m.ready), None)
            if lost is not None:
                self._said_unready = True
                self._emit(FleetUnready(lost.account))

    def _all_ready(self, members: Sequence[Instance]) -> bool:
        """Look first at the one that was not ready the last time: nearly always it still is not."""
        place = self._place if self._place < len(members) else 0
        for at in chain(range(place, len(members)), range(place)):
            if not members[at].ready:
                self._place = at
                return False
        return True

    def _may_be_lost(self) -> bool:
        """Whether to look: a job that is done is ready, unless the file makes it something else."""
        changed = self._members.fleet is not self._first_fleet
        return changed or self._members.census.any_in(UNDONE)

    def essentials(self) -> FleetDone | None:
        """Return the end where a container that the fleet cannot be without has given up."""
        self._read()
        for name in self._essential:
            for member in self._members.replicas[name]:
                if member.state is State.FAILED:
                    return FleetDone(1, f"essential container {member.account}")
        return None

    def jobs(self) -> FleetDone | None:
        """Return the end of a fleet of jobs once none of them runs and none ever will.

        Every gate has just been looked at: what still waits while nothing moves waits for ever.
        """
        self._read()
        if not self._only_jobs or not self._members.census.all_in(STILL):
            return None
        members = self._neighbours.rising
        failed = next((m for m in members if m.state is State.FAILED), None)
        blocked = next((m for m in members if m.state is State.WAITING), None)
        if failed is not None:
            return FleetDone(1, f"job {failed.account}")
        if blocked is not None:
            why = self._neighbours.why_held(blocked)
            return FleetDone(1, f"job `{blocked.name}` cannot run: {why}")
        return FleetDone(0, "all jobs have finished")

    def _read(self) -> None:
        """Look at the fleet, where it is another than the last time."""
        if self._fleet is not self._members.fleet:
            self._fleet = self._members.fleet
            containers = self._fleet.containers.values()
            self._essential = tuple(c.name for c in containers if c.essential)
            self._only_jobs = all(c.kind is Kind.JOB and c.schedule is None for c in containers)
