"""How one change leads to the next: who may start now, whose stop has come, who is out.

Everything that has changed is looked at, and with it the instances around it, until nothing
changes any more.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import final

from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.members import UP, Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.slots import Slots


@final
class Flow:
    """The changes that have not been followed yet. `down`: the fleet is stopping."""

    def __init__(self, members: Members, neighbours: Neighbours, slots: Slots) -> None:
        """Begin with every instance as it is."""
        self._members = members
        self._neighbours = neighbours
        self._slots = slots
        self.changed: deque[Instance] = members.touched
        self.down = False

    def follow(self, now: float) -> None:
        """Follow all changes to their end."""
        while self.changed or self._give_place(now):
            member = self.changed.popleft()
            if self._members.all.get(member.id) is not member:
                continue
            if self.down:
                self._look_down(member, now)
            else:
                self._look_up(member, now)

    def _look_up(self, member: Instance, now: float) -> None:
        self._members.shapes.catch_up(member)
        if member.id in self._members.leaving:
            beneath = [*self._neighbours.beneath(member)]
            self._members.see_off(member, now)
            if member.id not in self._members.all:
                self.changed.extend(m for m in beneath if m.id in self._members.leaving)
            return
        self._members.shapes.mould(member, now)
        self._launch_if_due(member, now)
        for dependent in self._neighbours.dependents(member):
            self._launch_if_due(dependent, now)
        member.take_queued(now)

    def _look_down(self, member: Instance, now: float) -> None:
        beneath = [*self._neighbours.beneath(member)]
        self._stop_if_free(member, now)
        if member.id in self._members.leaving and member.state in DOWN:
            self._members.see_off(member, now)
        for dependency in beneath:
            self._stop_if_free(dependency, now)

    def _launch_if_due(self, member: Instance, now: float, *, called: bool = False) -> None:
        """Start what may start, if there is a place for it; `called` says that one is kept."""
        if not member.may_launch(now):
            return
        if not self._neighbours.gates_open(member):
            self._slots.leave(member.id)
            member.hold(now, partial(self._neighbours.why_held, member))
        elif called or self._slots.free:
            member.launch(now)
        elif self._slots.queue(member.id):
            member.hold(now, lambda: self._slots.why, again=True)

    def _give_place(self, now: float) -> bool:
        """Start the next that waits for a place, if there is one; return whether it changed."""
        while not self.down and not self.changed and (identity := self._slots.next()) is not None:
            if (member := self._members.all.get(identity)) is not None:
                self._launch_if_due(member, now, called=True)
        return bool(self.changed)

    def _stop_if_free(self, member: Instance, now: float) -> None:
        if member.state in UP and self._neighbours.dependents_down(member):
            member.stop(now, "the fleet is stopping")
