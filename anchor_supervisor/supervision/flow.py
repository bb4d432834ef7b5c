"""How one change leads to the next: who may start now, whose stop has come, who is out.

Everything that has changed is looked at, and with it the instances around it, until nothing
changes any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final, final

from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN, HELD
from anchor_supervisor.supervision.members import UP, Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.slots import Slots

STOPPING: Final = "the fleet is stopping"


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
            beneath = self._neighbours.beneath(member)
            self._members.see_off(member, now)
            if member.id not in self._members.all:
                below = (other for name in beneath for other in self._members.of(name))
                self.changed.extend(m for m in below if m.id in self._members.leaving)
            return
        self._members.shapes.mould(member, now)
        self._launch_if_due(member, now)
        for several in self._neighbours.groups_above(member):
            self._launch_all_due(several, now)
        member.take_queued(now)

    def _look_down(self, member: Instance, now: float) -> None:
        beneath = self._neighbours.beneath(member)
        self._stop_if_free(member, now)
        if member.id in self._members.leaving and member.state in DOWN:
            self._members.see_off(member, now)
        for name in beneath:
            self._stop_all_free(name, now)

    def _launch_all_due(self, several: Iterable[Instance], now: float) -> None:
        """Start what may start of one container: the same gates for all, looked at once."""
        gates_open: bool | None = None
        for member in several:
            told = member.life.held and not self._slots.waits(member.id)
            if member.state not in HELD or (gates_open is False and told):
                continue
            if member.may_launch(now):
                if gates_open is None:
                    gates_open = self._neighbours.gates_open(member)
                self._launch(member, now, gates_open=gates_open)

    def _launch_if_due(self, member: Instance, now: float, *, called: bool = False) -> None:
        """Start what may start, if there is a place for it; `called` says that one is kept."""
        if member.may_launch(now):
            gates_open = self._neighbours.gates_open(member)
            self._launch(member, now, gates_open=gates_open, called=called)

    def _launch(
        self, member: Instance, now: float, *, gates_open: bool, called: bool = False
    ) -> None:
        if not gates_open:
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

    def _stop_all_free(self, name: str, now: float) -> None:
        """Stop what is up of a container, where nothing needs it any more: looked at once for all.

        What leaves has dependents of its own.
        """
        free: bool | None = None
        for member in self._members.of(name):
            if member.state not in UP:
                continue
            if member.id in self._members.leaving:
                self._stop_if_free(member, now)
                continue
            if free is None:
                free = self._neighbours.dependents_down(member)
            if free:
                member.stop(now, STOPPING)

    def _stop_if_free(self, member: Instance, now: float) -> None:
        if member.state in UP and self._neighbours.dependents_down(member):
            member.stop(now, STOPPING)
