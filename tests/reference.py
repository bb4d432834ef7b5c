"""A second supervisor, slow and plain, to compare the real one with.

It knows no deadlines, no queues of changes and no order: after every event it looks at everything
again and again, until nothing changes any more. It shares nothing with the real one but the values
that go in and the words that come out. What it leaves out, the fleets it is asked about leave out:
schedules, startup probes, runtimes, exit codes, jitter, essential containers and `parallel`. When a
probe goes out it is told; what the answers mean is its own arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from attrs import evolve

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    InstanceId,
    Kind,
    ReactionKind,
)
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetChanged,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
)
from anchor_supervisor.supervision.states import HealthState, State
from reference_life import DOWN, UP, Lives, Thing
from reference_update import Update, new_run

Account = dict[InstanceId, tuple[State, HealthState, int | None, Container]]


@final
class Reference(Lives):
    """The other supervisor."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin with everything waiting, and nobody having asked for it."""
        super().__init__()
        self.fleet = fleet
        self.things = {i: Thing(i, c, c) for i, c in _wanted(fleet)}
        self.settled = dict(fleet.containers)
        self.changes = 0

    def account(self) -> Account:
        """Return what is to be compared."""
        return {t.id: (t.state, t.health, t.pid, t.made) for t in self.things.values()}

    def asked(self, instance: InstanceId, now: float) -> None:
        """Note that a probe goes out."""
        self.things[instance].asked_at = now

    def hear(self, event: Event, now: float) -> None:
        """Take one event."""
        self.now = now
        if self.phase == "done":
            return
        self._take(event)
        for thing in self.things.values():
            self.lose_patience(thing)
        self._settle()

    def _take(self, event: Event) -> None:
        match event:
            case FleetStartRequested() if self.phase == "idle":
                self.phase = "up"
            case FleetChanged(fleet=fleet) if self.phase == "up":
                self._change(fleet)
            case FleetStopRequested() | FleetKillRequested():
                self._close()
                if isinstance(event, FleetKillRequested):
                    for thing in self.things.values():
                        if thing.state in UP:
                            self.stop(thing)
            case StartRequested() | StopRequested() | RestartRequested() if self.phase == "up":
                asked = self.things.get(event.instance)
                if asked is not None and not asked.leaves_in:
                    self._obey(event, asked)
            case Spawned() | SpawnFailed() | Exited() | ProbeFinished():
                if event.instance in self.things:
                    self.note(event, self.things[event.instance])
            case _:
                pass

    def _obey(self, event: StartRequested | StopRequested | RestartRequested, thing: Thing) -> None:
        thing.parked = isinstance(event, StopRequested)
        if isinstance(event, StopRequested):
            self.stop(thing)
        elif isinstance(event, RestartRequested):
            self.restart(thing)
        else:
            self.want(thing)

    # The whole fleet.

    def _settle(self) -> None:
        before = None
        while before != (before := self._picture()):
            if self.phase == "up":
                self._spread()
                for name in self._sorted():
                    if name in self.updates:
                        self.updates[name].fail(self)
                self._see_off()
                for thing in [*self.things.values()]:
                    self.mould(thing)
                for thing in [*self.things.values()]:
                    self._launch(thing)
                for name in self._sorted():
                    if name in self.updates:
                        self.updates[name].advance(self)
            if self.phase == "stopping":
                for thing in self.things.values():
                    if thing.state in UP and not any(self._above(thing)):
                        self.stop(thing)
                self._see_off()
        self._conclude()

    def _picture(self) -> object:
        things = [
            (t.id, t.state, t.made is t.goal, t.leaves_in, t.after_stop)
            for t in self.things.values()
        ]
        return things, [(u.result, len(u.queue), dict(u.watched)) for u in self.updates.values()]

    def _conclude(self) -> None:
        states = {thing.state for thing in self.things.values()}
        updating = any(not update.result for update in self.updates.values())
        if self.phase == "stopping" and states <= set(DOWN):
            self.phase = "done"
        jobs = all(one.kind is Kind.JOB for one in self.fleet.containers.values())
        still = states <= {*DOWN, State.WAITING}
        if self.phase == "up" and jobs and still and not updating:
            self.phase = "done"

    def _close(self) -> None:
        if self.phase not in ("idle", "up"):
            return
        self.phase = "stopping"
        for update in self.updates.values():
            update.result = update.result or "paused"
        for thing in self.things.values():
            thing.asked_at = None
            if thing.state in (State.WAITING, State.BACKOFF, State.STOPPING):
                self.stop(thing)

    def _spread(self) -> None:
        """Restart what restarts with what it depends on."""
        for thing in [*self.things.values()]:
            if thing.comes_back:
                thing.comes_back = False
                if not thing.leaves_in and not self.is_extra(thing):
                    for other in self.things.values():
                        reaction = None if other.leaves_in else self._reaction(other, thing)
                        if reaction is ReactionKind.RESTART and other.state in UP:
                            self.restart(other)

    def _reaction(self, thing: Thing, beneath: Thing) -> ReactionKind | None:
        found = self.fleet.containers[thing.id.container].on_restart.get(beneath.id.container)
        return None if found is None else found.kind

    def _see_off(self) -> None:
        for thing in [*self.things.values()]:
            if thing.leaves_in:
                held = thing.state in (State.WAITING, State.BACKOFF, State.STOPPING)
                if held or (self.phase == "up" and not any(self._above(thing))):
                    self.stop(thing)
                if thing.state in DOWN:
                    del self.things[thing.id]

    def _above(self, thing: Thing) -> Iterator[Thing]:
        """Yield what must be down before this one is asked to go."""
        for other in self.things.values():
            if other.leaves_in:
                matters = not thing.leaves_in or other.leaves_in <= thing.leaves_in
                if matters and thing.id.container in other.needs:
                    yield other
                continue
            needs = self.fleet.containers[other.id.container].depends_on
            if not thing.leaves_in and other.state not in DOWN and thing.id.container in needs:
                yield other

    def mould(self, thing: Thing) -> None:
        """Make it into what it should be, where nothing of it runs."""
        down = thing.pid is None and not thing.spawning and not thing.leaves_in
        if down and thing.made != thing.goal:
            self.adopt(thing, thing.goal)

    def _launch(self, thing: Thing) -> None:
        waits = thing.state is State.WAITING
        due = thing.state is State.BACKOFF and thing.retry_at <= self.now
        if thing.leaves_in or not (waits or due):
            return
        if not self.gates_open(thing):
            thing.state = State.WAITING
            return
        thing.starts += 1
        if thing.starts > 1:
            thing.restarts.append(self.now)
        thing.spawning = True
        self.put(thing, State.STARTING)

    def closed(self, thing: Thing) -> Iterator[Thing]:
        """Yield the dependencies that are not what they must be."""
        for name, condition in self.fleet.containers[thing.id.container].depends_on.items():
            for other in self.replicas(name):
                if not _holds(condition, other):
                    yield other

    def gates_open(self, thing: Thing) -> bool:
        """Whether it may start."""
        return not any(self.closed(thing))

    def stuck(self, thing: Thing) -> bool:
        """Whether it will not move without an operator."""
        if thing.state in DOWN:
            return True
        return thing.state is State.WAITING and any(self.stuck(o) for o in self.closed(thing))

    def replicas(self, name: str) -> list[Thing]:
        """Return the replicas that the file asks for."""
        count = self.fleet.containers[name].replicas
        return [self.things[InstanceId(name, number)] for number in range(1, count + 1)]

    def is_extra(self, thing: Thing) -> bool:
        """Whether an update made it beside those that the file asks for."""
        container = self.fleet.containers.get(thing.id.container)
        return container is not None and thing.id.replica > container.replicas

    def extras(self, name: str) -> list[Thing]:
        """Return the additional replicas of a container."""
        mine = [t for t in self.things.values() if t.id.container == name and not t.leaves_in]
        return sorted((t for t in mine if self.is_extra(t)), key=lambda thing: thing.id)

    def _sorted(self) -> list[str]:
        """Return the containers, dependencies first."""
        done: list[str] = []
        while len(done) < len(self.fleet.containers):
            for name, container in self.fleet.containers.items():
                if name not in done and set(container.depends_on) <= set(done):
                    done.append(name)
        return done

    # Its changes.

    def leave(self, thing: Thing) -> None:
        """Let it go, once what leaves and depends on it is gone."""
        if not thing.leaves_in:
            thing.leaves_in = self.changes
            thing.needs = tuple(self.fleet.containers[thing.id.container].depends_on)

    def add(self, identity: InstanceId, container: Container) -> Thing:
        """Make one more."""
        thing = self.things[identity] = Thing(identity, container, container, since=self.now)
        return thing

    def _change(self, fleet: Fleet) -> None:
        self.changes += 1
        for thing in self.things.values():
            container = fleet.containers.get(thing.id.container)
            if not thing.leaves_in and (
                container is None
                or (thing.id.replica > container.replicas and not self.is_extra(thing))
            ):
                self.leave(thing)
        self.fleet = fleet
        unproven: list[InstanceId] = []
        for identity, container in _wanted(fleet):
            known = self.things.get(identity)
            if known is None:
                self.add(identity, container)
                unproven.append(identity)
            elif known.leaves_in:
                known.leaves_in = 0
                if not known.parked and known.state not in UP:
                    self.want(known)
        self.updates = {n: u for n, u in self.updates.items() if n in fleet.containers}
        self.settled = {n: c for n, c in self.settled.items() if n in fleet.containers}
        for update in self.updates.values():
            update.spoils = False
        for container in fleet.containers.values():
            self._bring_in_line(container, unproven)

    def _bring_in_line(self, container: Container, unproven: list[InstanceId]) -> None:
        name = container.name
        current = self.updates.get(name)
        if current is not None and not current.result:
            if current.new == container and not current.back:
                return
            unproven = [*unproven, *current.watched]
        elif not self.extras(name) and not any(
            new_run(thing.made, container) for thing in self.replicas(name)
        ):
            for thing in self.replicas(name):
                self.take_over(thing, container)
            self.settled[name] = container
            return
        old = self.settled.get(name, container)
        old = evolve(
            old,
            replicas=container.replicas,
            depends_on=container.depends_on,
            on_restart=container.on_restart,
        )
        self.updates[name] = Update(container, old, container)
        self.updates[name].begin(self, unproven)

    def take_over(self, thing: Thing, container: Container) -> None:
        """Let it be of a value that needs no new run."""
        thing.goal = container
        if thing.made != container:
            self.adopt(thing, container)


def _wanted(fleet: Fleet) -> Iterator[tuple[InstanceId, Container]]:
    for container in fleet.containers.values():
        for number in range(1, container.replicas + 1):
            yield InstanceId(container.name, number), container


def _holds(condition: Condition, thing: Thing) -> bool:
    match condition:
        case Condition.STARTED:
            return thing.state in (State.RUNNING, State.COMPLETED)
        case Condition.HEALTHY:
            return thing.state is State.RUNNING and thing.health in (
                HealthState.HEALTHY,
                HealthState.NONE,
            )
        case Condition.COMPLETED:
            return thing.state is State.COMPLETED
