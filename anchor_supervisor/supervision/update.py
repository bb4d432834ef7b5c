"""One update: the replicas of one container are brought to a new value, a few at a time.

Replicas of which nothing runs are made new at once. The others wait in a queue and are replaced
in batches of `parallelism`; a batch is watched until each of it is ready and has stayed so for
`monitor` seconds, and only then comes the next. With start-first, additional replicas of the new
kind are started and watched before the first is replaced, and no batch is larger than the number
of them that are ready; so addresses and names stay, and so does what is ready.

When a replica that is watched fails, `on_failure` decides. To roll back is the same update again,
towards the value that the container had before.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import Container, InstanceId, Kind, OnUpdateFailure, UpdateOrder
from anchor_supervisor.supervision.commands import Report, UpdateResult
from anchor_supervisor.supervision.instance import Instance
from anchor_supervisor.supervision.lifecycle import DOWN
from anchor_supervisor.supervision.members import UP, Members
from anchor_supervisor.supervision.neighbours import Neighbours
from anchor_supervisor.supervision.states import HealthState, State
from anchor_supervisor.values import frozen

WHY = "update"
"""How the reason of every stop begins that an update asks for."""


@final
@frozen
class UpdateStatus:
    """How far the latest update of a container has come; `result` is None while it is active.

    `replaced` of the `total` replicas that needed it are made of the new value and proven.
    """

    container: str
    active: bool
    result: UpdateResult | None
    reason: str
    replaced: int
    total: int


@final
class Roll:
    """The update of one container, from its first replica to its result.

    `old` is what a rollback leads to, and `going_back` that it is on its way there.
    """

    def __init__(
        self,
        new: Container,
        old: Container,
        members: Members,
        neighbours: Neighbours,
    ) -> None:
        """Plan the update; nothing is done before `begin`."""
        self.new = new
        self.old = old
        self._members = members
        self._neighbours = neighbours
        self._target = new
        self.going_back = False
        self._queue: list[Instance] = []
        self._watched: dict[InstanceId, float | None] = {}
        self._troubles: dict[InstanceId, str] = {}
        self._borne: list[str] = []
        self._surged = False
        self._cause = ""
        self._total = 0
        self.result: UpdateResult | None = None
        self.reason = ""

    def status(self) -> UpdateStatus:
        """Return how far it has come."""
        done = self._total - len(self._queue) - len(self._pending())
        active = self.result is None
        return UpdateStatus(
            self.new.name, active, self.result, self.reason, max(done, 0), self._total
        )

    def deadline(self) -> float | None:
        """When the first of the watched will have been ready long enough."""
        moments = [since + self._monitor for since in self._watched.values() if since is not None]
        return None if self.result is not None else min(moments, default=None)

    # What the fleet tells it.

    def begin(self, unproven: Collection[InstanceId], now: float) -> None:
        """Make new at once what does not run, and watch it beside what is `unproven` anyhow."""
        self.reason = "waiting for its turn"
        self._take_stock(now)
        for member in self._members.replicas[self.new.name]:
            if member.id in unproven and member not in self._queue:
                self._watched[member.id] = None
        self._total = len(self._queue) + len(self._pending())

    def hear(self, report: Report) -> None:
        """Note what a report says against a watched replica, even if the next says otherwise."""
        member = self._members.all[report.instance]
        mine = report.instance in self._watched or member in self._extras
        if not mine or not self._members.shapes.reached(member):
            return
        proven = report.instance not in self._watched
        if self._fails(report, member, proven=proven):
            self._troubles.setdefault(report.instance, f"`{member.name}` {_clause(report)}")

    def unproven(self) -> tuple[InstanceId, ...]:
        """Return the replicas that are watched."""
        return tuple(self._watched)

    def end(self, result: UpdateResult, reason: str) -> None:
        """Leave everything as it is."""
        self.result, self.reason = result, reason

    # What it does.

    def advance(self, now: float, *, held: str | None) -> bool:
        """Do what can be done now; return whether anything was.

        `held` says which other update must end first: until then nothing more is replaced.
        """
        if self.fail(now):
            return True
        before = dict(self._watched)
        for identity in [*self._watched]:
            self._watch(self._members.all[identity], now)
        if held is not None:
            self.reason = held
            return False
        if self._watch_for_ever(now):
            return True
        if self._watched:
            names = ", ".join(f"`{self._members.all[i].name}`" for i in sorted(self._watched))
            self.reason = f"{self._course}waiting for {names} to be ready"
            return before.keys() != self._watched.keys()
        return self._go_on(now)

    def fail(self, now: float) -> bool:
        """Follow what was said against the watched; return whether anything was."""
        troubles, self._troubles = self._troubles, {}
        course = self.going_back
        for identity, trouble in troubles.items():
            if self.result is None and self.going_back is course:
                self._watched.pop(identity, None)
                member = self._members.all[identity]
                self._give_in(member, trouble, self.new.update.on_failure, now)
        return bool(troubles)

    # Its steps.

    def _go_on(self, now: float) -> bool:
        if self._queue and not self._surged:
            self._surged = True
            if self._surge(now):
                return True
        if self._queue:
            return self._next_batch(now)
        self._finish()
        return True

    def _surge(self, now: float) -> bool:
        """Start additional replicas where there are fewer than the largest batch needs."""
        if not self._start_first:
            return False
        for member in self._extras:  # those that an earlier attempt left behind
            if member.state in DOWN or member.health is HealthState.UNHEALTHY:
                self._members.dismiss(member, "it failed in an earlier update")
        fit = [m for m in self._extras if self.going_back or self._effect(m) < Effect.RESTART]
        missing = min(self._parallelism, len(self._queue)) - len(fit)
        made = [self._members.add_extra(self._target, now) for _ in range(missing)]
        self._watched |= {member.id: None for member in (*fit, *made)}
        return True

    def _next_batch(self, now: float) -> bool:
        size = self._parallelism
        standing = [m for m in self._extras if m.id not in self._members.parked]
        if standing:
            size = min(size, sum(member.ready for member in standing))
        batch, self._queue = self._queue[:size], self._queue[size:]
        for member in batch:
            self._replace(member, now)
        if not batch:  # what stood in has fallen: it must prove itself once more
            self._watched |= {member.id: None for member in standing}
        return True

    def _finish(self) -> None:
        for member in self._extras:
            self._members.dismiss(member, "the update is over")
        if self.going_back:
            self.end(UpdateResult.ROLLED_BACK, self._cause)
        else:
            self.end(UpdateResult.DONE, "; ".join(self._borne) or "every replica is new")

    def _give_in(self, member: Instance, trouble: str, policy: OnUpdateFailure, now: float) -> None:
        """Follow a failure. One on the way back ends it: to go on could only lose more."""
        if policy is OnUpdateFailure.CONTINUE:
            self._borne.append(trouble)
            if member in self._extras:
                self._members.dismiss(member, "it failed in the update")
        elif self.going_back:
            self.end(UpdateResult.PAUSED, f"{self._cause}; while rolling back, {trouble}")
        elif policy is OnUpdateFailure.PAUSE or not self._has_way_back:
            self.end(UpdateResult.PAUSED, trouble)
        else:
            self._turn_back(trouble, now)

    def _turn_back(self, cause: str, now: float) -> None:
        self._cause = cause
        self._target, self.going_back = self.old, True
        self._surged = False
        self._watched.clear()
        for member in self._extras:
            if not member.ready:
                self._members.dismiss(member, "the update is rolled back")
        self._take_stock(now)

    def _take_stock(self, now: float) -> None:
        """Replace what does not run, take over what needs no new run, and queue the rest."""
        self._queue = []
        for member in self._members.replicas[self.new.name]:
            if self._effect(member) < Effect.RESTART:
                self._keep(member, now)
            elif member.state in UP:
                self._queue.append(member)
            else:
                self._replace(member, now)
        self._queue.sort(key=lambda member: member.ready)

    def _keep(self, member: Instance, now: float) -> None:
        """Leave a replica alone that is what it should be, but wait for it where it is not ready.

        Otherwise an update that was paused would take down one replica more at each new attempt.
        """
        turned = not self._members.shapes.reached(member)
        self._members.shapes.take_over(member, self._target, now)
        if turned:  # it is on its way down for a value that is not wanted any more
            self._replace(member, now)
        elif self.going_back or member.ready or member.id in self._members.parked:
            return
        elif member.state is State.FAILED:
            self._replace(member, now)
        elif member.health is HealthState.UNHEALTHY:
            self._watched[member.id] = None
            self._troubles[member.id] = f"`{member.name}` is unhealthy"
        elif member.state not in DOWN:
            self._watched[member.id] = None

    def _replace(self, member: Instance, now: float) -> None:
        self._watched[member.id] = None
        course = "rolled back" if self.going_back else "as the file says now"
        self._members.replace(member, self._target, f"{WHY}: {course}", now)

    # How one replica does.

    def _watch(self, member: Instance, now: float) -> None:
        """Let go of a replica that is proven, or of which nothing more is to be expected."""
        if not self._members.shapes.reached(member):
            return
        since = self._watched[member.id]
        if member.id in self._members.parked or _scheduled(member):
            del self._watched[member.id]
        elif not member.ready:
            self._watched[member.id] = None
        elif now >= (now if since is None else since) + self._monitor:
            del self._watched[member.id]
        elif since is None:
            self._watched[member.id] = now

    def _fails(self, report: Report, member: Instance, *, proven: bool) -> bool:
        """Whether a report speaks against a replica; one that is proven has to give up for that."""
        if member.id in self._members.parked:
            return False
        lost = {State.FAILED, State.STOPPED}
        if proven:
            return report.state in lost
        unwell = report.state is State.RUNNING and report.health is HealthState.UNHEALTHY
        return unwell or report.state in lost | {State.BACKOFF}

    def _watch_for_ever(self, now: float) -> bool:
        """Pause where a replica waits for something that only an operator can bring about.

        Whatever the policy: the new value is not to blame, and the next replica would wait, too.
        """
        waiting = [i for i in self._watched if self._members.all[i].state is State.WAITING]
        stuck = self._neighbours.stuck() if waiting else frozenset()
        lost = next((self._members.all[i] for i in waiting if i in stuck), None)
        if lost is None:
            return False
        del self._watched[lost.id]
        trouble = f"`{lost.name}` cannot start: {self._neighbours.why_held(lost)}"
        self._give_in(lost, trouble, OnUpdateFailure.PAUSE, now)
        return True

    def _effect(self, member: Instance) -> Effect:
        return effect_between(member.container, self._target)

    def _pending(self) -> list[InstanceId]:
        regular = {member.id for member in self._members.replicas.get(self.new.name, ())}
        return [identity for identity in self._watched if identity in regular]

    @property
    def _has_way_back(self) -> bool:
        """Whether the old value is another: an update may lead back to it by itself."""
        return effect_between(self.new, self.old) >= Effect.RESTART

    @property
    def _extras(self) -> tuple[Instance, ...]:
        return self._members.extras.get(self.new.name, ())

    @property
    def _start_first(self) -> bool:
        jobs = self.new.kind is Kind.JOB
        return self.new.update.order is UpdateOrder.START_FIRST and not jobs

    @property
    def _parallelism(self) -> int:
        return self.new.update.parallelism

    @property
    def _monitor(self) -> float:
        return self.new.update.monitor

    @property
    def _course(self) -> str:
        return f"rolling back, as {self._cause}: " if self.going_back else ""


def _scheduled(member: Instance) -> bool:
    return member.container.schedule is not None


def _clause(report: Report) -> str:
    """Return what a report says as a clause: ``has failed: exited (1), policy no``."""
    match report.state:
        case State.FAILED:
            return f"has failed: {report.reason}"
        case State.BACKOFF | State.STOPPED:
            return f"has ended: {report.reason}"
        case _:
            return f"is {report.reason}"
