"""What holds for every fleet and every order of events, in virtual time.

The machine below plays the world: it answers what the core commands, late, twice or wrongly, lets
things die, and lets operators interfere. `World` replays the reports with its own books, so that
the core's promises are checked against what it said and did, not against what it believes.
"""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anchor_supervisor.fleet.model import Fleet, InstanceId, Kind
from anchor_supervisor.supervision.events import (
    ClockSet,
    Exited,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopCommandFinished,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.states import ExitStatus, Phase, State
from strategies import exit_statuses, fleets
from world import World

UNKNOWN = InstanceId("nobody", 7)
SUMMER_BEGINS = 1_774_746_000.0  # 29 March 2026 at 02:00 in Berlin, which is 03:00
walls = st.sampled_from([0.0, -3600.0, -3601.0, 1.0, 86_400.0]).map(SUMMER_BEGINS.__add__)
PATIENCE = 200


class AnyFleet(RuleBasedStateMachine):
    """Any fleet, any order of events; every rule is one thing that the world may do."""

    world: World

    @initialize(
        fleet=fleets() | fleets(kinds=(Kind.JOB,)),
        started=st.integers(0, 9),
        wall=walls,
        ran=st.none() | walls,
    )
    def begin(self, fleet: Fleet, started: int, wall: float, ran: float | None) -> None:
        """Draw a fleet; nearly always it is started."""
        self.world = World(fleet)
        if started:
            last_runs = {} if ran is None else dict.fromkeys(fleet.containers, ran)
            self.world.tell(FleetStartRequested(wall, last_runs))

    def _any(self, data: st.DataObject) -> InstanceId:
        return data.draw(st.sampled_from([*self.world.known, UNKNOWN]))

    @precondition(lambda self: self.world.spawning)
    @rule(data=st.data(), good=st.integers(0, 4), permanent=st.booleans())
    def answer_spawn(self, data: st.DataObject, good: int, permanent: bool) -> None:
        """A spawn succeeds, or fails."""
        instance = data.draw(st.sampled_from(sorted(self.world.spawning)))
        self.world.answer_spawn(instance, "" if good else "no such file", permanent=permanent)

    @precondition(lambda self: self.world.spawning)
    @rule()
    def answer_every_spawn(self) -> None:
        """All that is being started runs."""
        for instance in sorted(self.world.spawning):
            self.world.answer_spawn(instance)

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), status=exit_statuses)
    def end(self, data: st.DataObject, status: ExitStatus) -> None:
        """A run ends: asked, killed, crashed or done."""
        self.world.end(data.draw(st.sampled_from(sorted(self.world.alive))), status)

    @precondition(lambda self: self.world.probing)
    @rule(data=st.data(), ok=st.booleans())
    def answer_probe(self, data: st.DataObject, ok: bool) -> None:
        """A probe has its answer."""
        instance = data.draw(st.sampled_from(sorted(self.world.probing)))
        self.world.answer_probe(instance, ok=ok)

    @precondition(lambda self: self.world.probing)
    @rule()
    def answer_every_probe(self) -> None:
        """All that is probed is well."""
        self.world.tell(Tick())
        for instance in sorted(self.world.probing):
            self.world.answer_probe(instance, ok=True)

    @precondition(lambda self: any(run.asking for run in self.world.runs.values()))
    @rule(data=st.data(), ok=st.booleans())
    def answer_stop_command(self, data: st.DataObject, ok: bool) -> None:
        """A stop command ends, in time or too late."""
        asking = sorted(instance for instance, run in self.world.runs.items() if run.asking)
        self.world.answer_stop_command(data.draw(st.sampled_from(asking)), ok=ok)

    @rule(wall=walls)
    def set_clock(self, wall: float) -> None:
        """Somebody sets the clock on the wall."""
        self.world.tell(ClockSet(wall))

    @rule(late=st.sampled_from([0.0, 0.0, 0.001, 20.0]))
    def reach_deadline(self, late: float) -> None:
        """Time passes to the next deadline, or beyond it."""
        self.world.reach_deadline(late)

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 15.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes and nobody says so: the next event may find deadlines long gone."""
        self.world.now += seconds

    @rule(
        data=st.data(),
        verb=st.sampled_from([StartRequested, StopRequested, RestartRequested]),
    )
    def interfere(
        self,
        data: st.DataObject,
        verb: type[StartRequested] | type[StopRequested] | type[RestartRequested],
    ) -> None:
        """An operator starts, stops or restarts something."""
        self.world.tell(verb(self._any(data)))

    @rule(data=st.data())
    def stop_ends_in_stopped(self, data: st.DataObject) -> None:
        """A stop request always ends in `stopped` (or the job was done before)."""
        if self.world.core.phase is not Phase.UP:
            return
        instance = data.draw(st.sampled_from(self.world.known))
        self.world.tell(StopRequested(instance))
        for _ in range(PATIENCE):
            if instance not in self.world.spawning and instance not in self.world.alive:
                break
            self.world.yield_to_stop(instance)
        assert self.world.states[instance] in {State.STOPPED, State.COMPLETED}

    @rule(data=st.data(), status=exit_statuses, number=st.integers(0, 3), ok=st.booleans())
    def say_nonsense(self, data: st.DataObject, status: ExitStatus, number: int, ok: bool) -> None:
        """What is late, doubled or unknown changes nothing."""
        instance = self._any(data)
        world = self.world
        world.tell(Tick())
        if instance not in world.alive:
            world.tell_in_vain(Exited(instance, status))
        if instance not in world.spawning:
            world.tell_in_vain(Spawned(instance, 1))
            world.tell_in_vain(SpawnFailed(instance, "late", permanent=ok))
        if world.probing.get(instance) != number:
            world.tell_in_vain(ProbeFinished(instance, number, ok, "late"))
        if instance not in world.runs or not world.runs[instance].asking:
            world.tell_in_vain(StopCommandFinished(instance, ok, "late"))

    @rule(event=st.sampled_from([FleetStartRequested(), Tick()]))
    def say_again(self, event: FleetStartRequested | Tick) -> None:
        """A fleet may be started twice, and a tick may come early."""
        self.world.tell(event)

    @rule(
        event=st.sampled_from([FleetStopRequested(), FleetKillRequested()]),
        really=st.integers(0, 9),
    )
    def stop_fleet(self, event: FleetStopRequested | FleetKillRequested, really: int) -> None:
        """Now and then the fleet is asked to go down."""
        if not really:
            self.world.tell(event)

    @invariant()
    def promises_hold(self) -> None:
        """Whatever happened, the core's account of the fleet is sound."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """However it went, a fleet that is asked to stop gets to its end, and is quiet then."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.tell(FleetStopRequested())
        world.check()
        for _ in range(PATIENCE):
            if world.done is not None:
                break
            for instance in [*world.known]:
                world.yield_to_stop(instance, patient=True)
            world.check()
        assert world.done is not None
        assert world.core.next_deadline() is None
        assert not world.core.handle(StartRequested(world.known[0]), world.now)


TestAnyFleet = AnyFleet.TestCase
TestAnyFleet.settings = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
