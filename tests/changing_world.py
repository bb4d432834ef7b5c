"""The other side of a core whose fleet changes: what runs, and what the commands make of it.

Every command is checked when it is given, against the states that were reported until then and
against the fleet that is in force. What happens within one run is `world.py`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import (
    Fleet,
    InstanceId,
    Kind,
    UpdateOrder,
    instances,
)
from anchor_supervisor.supervision.commands import (
    CancelProbe,
    CancelSpawn,
    Command,
    Drain,
    FleetDone,
    FleetReady,
    FleetUnready,
    Kill,
    Refresh,
    Remove,
    Report,
    Reshape,
    RunProbe,
    RunStopCommand,
    Signal,
    Spawn,
    UpdateEnded,
    UpdateResult,
)
from anchor_supervisor.supervision.core import Core
from anchor_supervisor.supervision.events import (
    Event,
    Exited,
    FleetChanged,
    FleetKillRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopCommandFinished,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.lifecycle import TRANSITIONS
from anchor_supervisor.supervision.states import ExitStatus, HealthState, Phase, State
from places_of_runs import Place, new_place, satisfies

DOWN = {State.STOPPED, State.COMPLETED, State.FAILED}
UPDATE = "update"


class ChangingWorld:
    """A core, the time, and what really runs. `fleet` is the one in force."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin with nothing running."""
        self.fleet = fleet
        self.core = Core(fleet)
        self.now = 0.0
        self.heard = 0.0
        self.places = {i: new_place(fleet.containers[i.container]) for i in instances(fleet)}
        self.done: FleetDone | None = None
        self.merciless = False
        self._pids = 4000
        self._leaving: dict[InstanceId, frozenset[str]] = {}
        self._under_way: dict[str, set[InstanceId]] = defaultdict(set)
        self._excused: set[str] = set()
        self._closing = False

    # What the world does.

    def tell(self, event: Event) -> list[Command]:
        """Tell the core, and carry out what it commands."""
        self.heard = self.now
        self._closing = self.core.phase is Phase.STOPPING
        match event:
            case FleetKillRequested():
                self.merciless = True
            case StartRequested(instance) | StopRequested(instance) | RestartRequested(instance):
                self._forgive(instance)
            case FleetChanged(fleet=fleet) if self.core.phase is Phase.UP:
                self._change(fleet)
            case _:
                pass
        commands = self.core.handle(event, self.now)
        for command in commands:
            assert self.done is None, "something was commanded after the end"
            self._perform(command)
        if isinstance(event, FleetChanged):
            self._take_over_in_silence()
        return commands

    def answer_spawn(self, instance: InstanceId, failure: str = "", *, permanent: bool) -> None:
        """Let a spawn that was commanded succeed or fail."""
        place = self.places[instance]
        place.spawning = False
        if failure:
            self.tell(SpawnFailed(instance, failure, permanent))
            return
        self._pids += 1
        place.pid, place.started_at = self._pids, self.now
        self.tell(Spawned(instance, self._pids))

    def end(self, instance: InstanceId, status: ExitStatus) -> None:
        """Let a run end."""
        place = self.places[instance]
        place.pid = None
        place.asked = place.killed = place.commanded = False
        self.tell(Exited(instance, status))

    def answer_probe(self, instance: InstanceId, *, ok: bool) -> None:
        """Answer the probe of an instance."""
        number, self.places[instance].probe = self.places[instance].probe, None
        assert number is not None
        self.tell(ProbeFinished(instance, number, ok, "an answer"))

    def answer_stop_command(self, instance: InstanceId, *, ok: bool) -> None:
        """Let the stop command of an instance end."""
        self.places[instance].commanded = False
        self.tell(StopCommandFinished(instance, ok, "an answer"))

    def reach_deadline(self, late: float = 0.0) -> None:
        """Let time pass until the next deadline, if there is one, and then some."""
        deadline = self.core.next_deadline()
        if deadline is not None:
            self.now = max(self.now, deadline) + late
        self.tell(Tick())

    def which(self, **wanted: object) -> list[InstanceId]:
        """Return the instances whose place has something: `probe`, `commanded`, ..."""
        found = (
            identity
            for identity, place in self.places.items()
            if all(bool(getattr(place, key)) == value for key, value in wanted.items())
        )
        return sorted(found)

    def regular(self, name: str) -> Iterator[InstanceId]:
        """Yield the replicas of a container that the fleet asks for."""
        for replica in range(1, self.fleet.containers[name].replicas + 1):
            yield InstanceId(name, replica)

    # What is in force.

    def _change(self, fleet: Fleet) -> None:
        """Write down who leaves, and on whom it depended until now."""
        wanted, regular = set(instances(fleet)), set(instances(self.fleet))
        self._leaving = {i: needs for i, needs in self._leaving.items() if i not in wanted}
        for identity in self.places:
            kept = identity in wanted or identity in self._leaving
            if not kept and (identity.container not in fleet.containers or identity in regular):
                needs = frozenset(self.fleet.containers[identity.container].depends_on)
                self._leaving[identity] = needs
        same = {n for n, c in self.fleet.containers.items() if fleet.containers.get(n) == c}
        self._excused &= same  # their updates go on
        self.fleet = fleet

    def _take_over_in_silence(self) -> None:
        for identity, place in self.places.items():
            container = self.fleet.containers.get(identity.container)
            if container and effect_between(place.made, container) is Effect.NOTHING:
                place.made = container

    def gates_open(self, instance: InstanceId) -> bool:
        """Whether every dependency is, by the reports, what it must be."""
        return all(
            satisfies(condition, self.places[other])
            for name, condition in self.fleet.containers[instance.container].depends_on.items()
            for other in self.regular(name)
        )

    def ready(self, instance: InstanceId) -> bool:
        """Whether an instance is what the file wants in the end."""
        place, container = self.places[instance], self.core.made_of(instance)
        if container.kind is Kind.JOB:
            return place.state is State.COMPLETED
        wanted = HealthState.NONE if container.health is None else HealthState.HEALTHY
        return place.state is State.RUNNING and place.health is wanted

    def starting(self) -> int:
        """Return how many are being started."""
        return sum(place.state is State.STARTING for place in self.places.values())

    def is_extra(self, instance: InstanceId) -> bool:
        """Whether an update has made it beyond what the file asks for."""
        container = self.fleet.containers.get(instance.container)
        gone = instance in self._leaving or container is None
        return not gone and instance.replica > (container.replicas if container else 0)

    def extras(self, name: str) -> list[InstanceId]:
        """Return the additional replicas of a container."""
        return [i for i in self.places if i.container == name and self.is_extra(i)]

    # What the core commands, checked as it comes.

    def _perform(self, command: Command) -> None:
        match command:
            case Report():
                self._believe(command)
            case Spawn(instance=instance):
                self._spawn(instance, self.places[instance])
            case Reshape():
                self._reshape(command)
            case Refresh(instance=instance, container=container):
                place = self.places[instance]
                assert place.pid is not None
                assert not place.asked
                assert effect_between(place.made, container) <= Effect.SIGNAL
                place.told = place.made = container
            case Remove(instance=instance):
                assert not self.places.pop(instance).up
                self._leaving.pop(instance, None)
            case FleetReady() | FleetUnready():
                assert self.core.phase is not Phase.IDLE
            case UpdateEnded(container=name, result=result):
                if result is not UpdateResult.SUPERSEDED:
                    self._under_way.pop(name, None)
            case FleetDone():
                assert not any(place.up for place in self.places.values())
                self.done = command
            case _:
                self._act(command, self.places[command.instance])

    def _act(
        self,
        command: CancelSpawn | Signal | Kill | RunStopCommand | Drain | RunProbe | CancelProbe,
        place: Place,
    ) -> None:
        match command:
            case CancelSpawn():
                assert place.spawning, "only a start under way can be given up"
                return
            case CancelProbe():
                assert place.probe is not None
                place.probe = None
                return
            case Signal():
                place.asked = place.asked or place.state is State.STOPPING
            case Kill():
                place.killed = True
            case RunStopCommand():
                place.commanded = place.asked = True
            case Drain(instance=instance):
                assert not place.asked
                others = [i for i in self.places if i.container == instance.container]
                assert any(self.ready(other) for other in others if other != instance)
            case RunProbe(number=number):
                assert place.state is State.RUNNING
                assert place.probe is None
                place.probe = number
        assert place.pid is not None

    def _reshape(self, command: Reshape) -> None:
        """Only what does not run is made into something else, and who is new is announced so."""
        place = self.places.get(command.instance)
        if place is None:
            assert command.fresh
            self.places[command.instance] = new_place(command.container)
            return
        assert not place.up
        assert place.told != command.container, "a Reshape that changes nothing"
        if effect_between(place.told, command.container) is Effect.RECREATE:
            assert command.fresh
        place.told = place.made = command.container
        place.fresh = command.fresh

    def _spawn(self, instance: InstanceId, place: Place) -> None:
        """Through open gates alone, made of what it should be, and only if there is a place."""
        assert self.core.phase is not Phase.IDLE
        assert not self._closing
        assert not place.up
        assert instance not in self._leaving, "what leaves is not started"
        assert self.gates_open(instance)
        assert self.fleet.parallel is None or self.starting() <= self.fleet.parallel
        made = self.core.made_of(instance)
        assert place.told == made, "it would be started as something else than it is said to be"
        if place.ran_as is not None and effect_between(place.ran_as, made) is Effect.RECREATE:
            assert place.fresh
        place.ran_as, place.fresh = made, False
        place.spawning = True

    def _believe(self, report: Report) -> None:
        """Every report goes on from the one before, along the table."""
        instance, place = report.instance, self.places[report.instance]
        assert report.before is place.state
        assert report.state in {*TRANSITIONS[report.before].values(), report.before}
        assert report.reason
        stops = report.state is State.STOPPING and report.before is not State.STOPPING
        if stops:
            self._check_stop(instance, report)
        place.state, place.health = report.state, report.health
        failed = report.state in DOWN | {State.BACKOFF} or report.health is HealthState.UNHEALTHY
        if failed or self.core_ready(instance, report):
            self._under_way[instance.container].discard(instance)
        if failed and self.is_extra(instance):
            self._excused.add(instance.container)

    def core_ready(self, instance: InstanceId, report: Report) -> bool:
        """Whether a report says that an instance is up and well."""
        well = {HealthState.HEALTHY, HealthState.NONE}
        return report.state is State.RUNNING and report.health in well

    # The promises about stops.

    def _check_stop(self, instance: InstanceId, report: Report) -> None:
        if report.reason.startswith("the fleet is"):
            if not self.merciless:
                self._check_fleet_order(instance)
            return
        assert not self._closing, "only the fleet's order stops things now"
        if report.reason.startswith(("removed", "scaled")):
            assert instance in self._leaving
            for other, needs in self._leaving.items():
                assert instance.container not in needs or not self.places[other].up
        elif report.reason.startswith(UPDATE):
            self._check_update(instance)

    def _check_fleet_order(self, instance: InstanceId) -> None:
        for other, place in self.places.items():
            container = self.fleet.containers.get(other.container)
            if other in self._leaving:
                needs: frozenset[str] | set[str] = self._leaving[other]
            else:
                needs = set(container.depends_on) if container else set()
            # What left later than this may still be up, if it left for a graph of its own.
            if instance not in self._leaving and instance.container in needs:
                assert not place.up

    def _check_update(self, instance: InstanceId) -> None:
        """An update keeps what it promised: never more under way than may be missing."""
        name = instance.container
        assert not self.is_extra(instance)
        if not self.ready(instance):
            return
        under_way = self._under_way[name]
        under_way.add(instance)
        container = self.fleet.containers[name]
        policy = container.update
        assert len(under_way) <= policy.parallelism
        first = policy.order is UpdateOrder.START_FIRST and container.kind is Kind.SERVICE
        if first and name not in self._excused:
            assert len(under_way) <= sum(self.ready(extra) for extra in self.extras(name))

    def _forgive(self, instance: InstanceId) -> None:
        """What an operator does to a replica is not because of the update."""
        self._under_way[instance.container].discard(instance)
        if self.is_extra(instance):
            self._excused.add(instance.container)

    # What holds between events.

    def check(self) -> None:
        """The core's account agrees with the books, and nothing waits for nothing."""
        statuses = {status.instance: status for status in self.core.statuses(self.now)}
        assert statuses.keys() == self.places.keys()
        full = self.fleet.parallel is not None and self.starting() >= self.fleet.parallel
        for instance, place in self.places.items():
            status = statuses[instance]
            assert (status.state, status.health) == (place.state, place.health)
            assert status.pid == place.pid
            assert place.up == (place.state in {State.STARTING, State.RUNNING, State.STOPPING})
            if place.state is State.RUNNING:
                assert status.started_at == place.started_at
            if place.state is State.WAITING and self.core.phase is Phase.UP:
                assert full or not self.gates_open(instance), "a wake-up was lost"
            if instance in self._leaving and self.core.phase is Phase.UP:
                waits = any(instance.container in needs for needs in self._leaving.values())
                assert place.state is State.STOPPING or (place.up and waits), "it was forgotten"
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > self.heard, "a deadline that has passed is armed"
        for name, update in self.core.updates.items():
            assert name in self.fleet.containers
            assert update.active == (update.result is None)
            assert 0 <= update.replaced <= update.total
