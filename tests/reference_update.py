"""The updates of the reference: a list of what is to be replaced, and a list of what is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from attrs import Factory, define, evolve

from anchor_supervisor.fleet.model import (
    Container,
    InstanceId,
    Kind,
    OnUpdateFailure,
    ReactionKind,
    UpdateOrder,
)
from anchor_supervisor.supervision.states import HealthState, State

if TYPE_CHECKING:
    from reference import Reference
    from reference_life import Thing

ON_ITS_WAY = (State.WAITING, State.BACKOFF, State.STARTING, State.RUNNING, State.STOPPING)


def new_run(old: Container, new: Container) -> bool:
    """Whether a change needs a new run, as far as the fleets of the comparison go."""
    if (old.image, old.kind, old.command) != (new.image, new.kind, new.command):
        return True
    return old.grants != new.grants and new.on_change.kind is ReactionKind.RESTART


@final
@define(eq=False)
class Update:
    """One update. `target` is the new value, or the old one on the way `back`."""

    new: Container
    old: Container
    target: Container
    back: bool = False
    queue: list[InstanceId] = Factory(list)
    watched: dict[InstanceId, float | None] = Factory(dict)
    troubles: list[InstanceId] = Factory(list)
    surged: bool = False
    spoils: bool = False
    result: str = ""

    def begin(self, fleet: Reference, unproven: list[InstanceId]) -> None:
        """Replace at once what does not run, and watch what has yet to prove itself."""
        self._take_stock(fleet)
        for thing in fleet.replicas(self.new.name):
            if thing.id in unproven and thing.id not in self.queue:
                self.watched[thing.id] = None

    def notice(self, thing: Thing) -> None:
        """Look at a thing that has just changed."""
        extra = thing.id.replica > self.new.replicas
        if thing.parked or thing.made != thing.goal:
            return
        bad = thing.state in (State.FAILED, State.STOPPED)
        if thing.id in self.watched:
            unwell = thing.health is HealthState.UNHEALTHY and thing.state is State.RUNNING
            bad = bad or unwell or thing.state is State.BACKOFF
        elif not extra:
            return
        if bad and thing.id not in self.troubles:
            self.troubles.append(thing.id)

    def fail(self, fleet: Reference) -> None:
        """Follow what went wrong."""
        troubles, self.troubles = self.troubles, []
        back = self.back
        for identity in troubles:
            if self.result or self.back is not back:
                continue
            self.watched.pop(identity, None)
            policy = self.new.update.on_failure
            if policy is OnUpdateFailure.CONTINUE:
                if identity.replica > self.new.replicas:
                    fleet.leave(fleet.things[identity])
            elif policy is OnUpdateFailure.PAUSE or self.back or not new_run(self.new, self.old):
                self._end("paused")
            else:
                self._turn_back(fleet)

    def advance(self, fleet: Reference) -> None:
        """Go on as far as possible."""
        while self._step(fleet):
            pass

    def _step(self, fleet: Reference) -> bool:
        """Do one thing; return whether there was one to do."""
        if self.result:
            return False
        beneath = self._beneath(fleet, self.new.name)
        if not self.back and any(fleet.updates[name].spoils for name in beneath):
            self._end("paused")
            return True
        if self.troubles:
            self.fail(fleet)
            return True
        for identity in [*self.watched]:
            self._watch(fleet.things[identity], fleet.now)
        if not self.back and any(not fleet.updates[name].result for name in beneath):
            return False
        waiting = [i for i in self.watched if fleet.things[i].state is State.WAITING]
        if any(fleet.stuck(fleet.things[identity]) for identity in waiting):
            self._end("paused")
            return True
        if self.watched:
            return False
        if self.queue and not self.surged:
            self.surged = True
            self._surge(fleet)
        elif self.queue:
            self._next_batch(fleet)
        else:
            for extra in fleet.extras(self.new.name):
                fleet.leave(extra)
            self._end("rolled back" if self.back else "done")
            if not self.back:
                fleet.settled[self.new.name] = self.new
        return True

    def _end(self, result: str) -> None:
        self.result = result
        self.spoils = result != "done"

    def _beneath(self, fleet: Reference, name: str) -> set[str]:
        """Return all that a container depends on, and that has had an update."""
        found: set[str] = set()
        for need in fleet.fleet.containers[name].depends_on:
            found |= {need} | self._beneath(fleet, need)
        return found & {*fleet.updates}

    def _watch(self, thing: Thing, now: float) -> None:
        if thing.made != thing.goal:
            return
        since = self.watched[thing.id]
        if thing.parked:
            del self.watched[thing.id]
        elif not thing.ready:
            self.watched[thing.id] = None
        elif now >= (now if since is None else since) + self.new.update.monitor:
            del self.watched[thing.id]
        elif since is None:
            self.watched[thing.id] = now

    def _surge(self, fleet: Reference) -> None:
        policy = self.new.update
        if policy.order is not UpdateOrder.START_FIRST or self.new.kind is Kind.JOB:
            return
        for extra in fleet.extras(self.new.name):
            lost = extra.state not in ON_ITS_WAY or extra.health is HealthState.UNHEALTHY
            if lost:
                fleet.leave(extra)
        kindred = [
            extra
            for extra in fleet.extras(self.new.name)
            if self.back or not new_run(extra.made, self.new)
        ]
        for extra in kindred:
            self.watched[extra.id] = None
        for _ in range(min(policy.parallelism, len(self.queue)) - len(kindred)):
            number = self.new.replicas + 1
            while InstanceId(self.new.name, number) in fleet.things:
                number += 1
            identity = InstanceId(self.new.name, number)
            fleet.add(identity, self.target)
            self.watched[identity] = None

    def _next_batch(self, fleet: Reference) -> None:
        size = self.new.update.parallelism
        standing = [extra for extra in fleet.extras(self.new.name) if not extra.parked]
        if standing:
            size = min(size, len([extra for extra in standing if extra.ready]))
        for _ in range(min(size, len(self.queue))):
            self._replace(fleet, fleet.things[self.queue.pop(0)])
        if size == 0:
            for extra in standing:
                self.watched[extra.id] = None

    def _turn_back(self, fleet: Reference) -> None:
        self.back, self.target, self.surged = True, self.old, False
        self.watched = {}
        for extra in fleet.extras(self.new.name):
            if not extra.ready:
                fleet.leave(extra)
        containers = {**fleet.fleet.containers, self.new.name: self.old}
        fleet.fleet = evolve(fleet.fleet, containers=containers)
        self._take_stock(fleet)

    def _take_stock(self, fleet: Reference) -> None:
        self.queue = []
        ready: list[InstanceId] = []
        for thing in fleet.replicas(self.new.name):
            if not new_run(thing.made, self.target):
                self._keep(fleet, thing)
            elif thing.state in (State.STARTING, State.RUNNING):
                (ready if thing.ready else self.queue).append(thing.id)
            else:
                self._replace(fleet, thing)
        self.queue += ready

    def _keep(self, fleet: Reference, thing: Thing) -> None:
        turned = thing.made != thing.goal
        fleet.take_over(thing, self.target)
        if turned:
            self._replace(fleet, thing)
        elif not self.back and not thing.ready and not thing.parked:
            if thing.state is State.FAILED:
                self._replace(fleet, thing)
            elif thing.state in ON_ITS_WAY:
                self.watched[thing.id] = None
                if thing.health is HealthState.UNHEALTHY:
                    self.troubles.append(thing.id)

    def _replace(self, fleet: Reference, thing: Thing) -> None:
        self.watched[thing.id] = None
        thing.goal = self.target
        fleet.mould(thing)
        if not thing.parked:
            fleet.restart(thing)
