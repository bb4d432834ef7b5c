"""A fleet whose file is edited again and again, as a machine that Hypothesis drives.

The world answers, late or wrongly, lets things die and lets operators interfere. At any moment it
may become kind: everything starts, answers well and ends when it is asked to. Then every update
must come to its end, and the fleet be what the file says.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import Container, Fleet, InstanceId, instances
from anchor_supervisor.supervision.commands import Command, Refresh, UpdateResult
from anchor_supervisor.supervision.events import (
    Exited,
    FleetChanged,
    FleetKillRequested,
    FleetStartRequested,
    FleetStopRequested,
    ProbeFinished,
    RestartRequested,
    Spawned,
    StartRequested,
    StopRequested,
    Tick,
)
from anchor_supervisor.supervision.states import ExitStatus, Phase, State
from changing_world import UPDATE, ChangingWorld
from fleet_edits import edited, fleets

PATIENCE = 400
ends = st.sampled_from(
    [ExitStatus(code=0), ExitStatus(code=1), ExitStatus(code=1), ExitStatus(signal=9)]
)


class ChangingFleet(RuleBasedStateMachine):
    """Every rule is one thing that the world may do. `plain`: the fleets have nothing rare."""

    world: ChangingWorld
    plain = False

    @initialize(fleet=fleets(most=6) | fleets())
    def begin(self, fleet: Fleet) -> None:
        """Draw a fleet, and start it."""
        self.enter(ChangingWorld(fleet))

    def enter(self, world: ChangingWorld) -> None:
        """Begin in this world."""
        self.world = world
        self.gone: set[InstanceId] = set()
        self.world.tell(FleetStartRequested())
        self._help()

    # The file.

    @precondition(lambda self: self.world.core.phase is Phase.UP)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """The file is edited, and applied: what it was said to do is what happens."""
        self._apply(data.draw(edited(self.world.fleet, plain=self.plain)))

    @precondition(lambda self: self.world.core.phase is Phase.UP)
    @rule(data=st.data())
    def change_in_peace(self, data: st.DataObject) -> None:
        """The same while everything is well."""
        self.be_kind()
        if self.world.core.phase is Phase.UP:
            self._apply(data.draw(edited(self.world.fleet, plain=self.plain)))

    @precondition(lambda self: self.world.core.phase is Phase.UP)
    @rule()
    def apply_again(self) -> None:
        """The same file once more does nothing, unless an update was left half done."""
        world = self.world
        world.tell(Tick())
        broken = {UpdateResult.PAUSED, UpdateResult.ROLLED_BACK}
        updates = world.core.updates.values()
        if world.core.fleet == world.fleet and not any(one.result in broken for one in updates):
            assert world.tell(FleetChanged(world.fleet)) == []

    def _apply(self, fleet: Fleet) -> None:
        world = self.world
        world.tell(Tick())
        if world.core.phase is not Phase.UP:
            return
        before = {i: world.core.made_of(i) for i in instances(world.fleet) if i in world.places}
        running = {
            i: (world.places[i].pid, world.places[i].started_at)
            for i in before
            if world.places[i].state is State.RUNNING
        }
        was = set(world.places)
        commands = world.tell(FleetChanged(fleet))
        self.gone |= was - set(world.places)
        for instance, run in running.items():
            if instance in instances(fleet) and world.core.phase is Phase.UP:
                after = fleet.containers[instance.container]
                self._check_effect(instance, before[instance], after, run, commands)

    def _check_effect(
        self,
        instance: InstanceId,
        before: Container,
        after: Container,
        run: tuple[int | None, float],
        commands: list[Command],
    ) -> None:
        """What runs hears of a change by as much as it takes, and no more."""
        world, effect = self.world, effect_between(before, after)
        refreshed = [c for c in commands if isinstance(c, Refresh) and c.instance == instance]
        place = world.places[instance]
        if world.core.fleet.containers[instance.container] != after:
            return  # it has failed at once, and is rolled back
        if effect >= Effect.RESTART:
            assert not refreshed
            return
        assert world.core.made_of(instance) == after
        assert (place.pid, place.started_at) == run
        reason = world.core.snapshot(instance).reason
        assert place.state is State.RUNNING or not reason.startswith(UPDATE)
        signal = after.on_change.signal if effect is Effect.SIGNAL else None
        expected = [] if effect is Effect.NOTHING else [Refresh(instance, after, signal)]
        assert refreshed == expected

    # The world.

    @precondition(lambda self: self.world.which(spawning=True))
    @rule(data=st.data(), good=st.integers(0, 4), permanent=st.booleans())
    def answer_spawn(self, data: st.DataObject, good: int, permanent: bool) -> None:
        """A spawn succeeds, or fails."""
        instance = data.draw(st.sampled_from(self.world.which(spawning=True)))
        self.world.answer_spawn(instance, "" if good else "no such file", permanent=permanent)

    @precondition(lambda self: self.world.which(spawning=True))
    @rule(data=st.data(), permanent=st.booleans())
    def fail_one_start(self, data: st.DataObject, permanent: bool) -> None:
        """Something cannot be started, and all else goes on."""
        instance = data.draw(st.sampled_from(self.world.which(spawning=True)))
        self.world.answer_spawn(instance, "no such file", permanent=permanent)
        self._help()

    @rule(rounds=st.integers(1, 5))
    def go_on_well(self, rounds: int) -> None:
        """For a while nothing goes wrong."""
        for _ in range(rounds):
            self._help()

    @precondition(lambda self: self.world.which(spawning=True))
    @rule()
    def answer_every_spawn(self) -> None:
        """All that is being started runs."""
        for instance in self.world.which(spawning=True):
            self.world.answer_spawn(instance, permanent=False)

    @precondition(lambda self: self.world.which(pid=True))
    @rule(data=st.data(), status=ends)
    def end(self, data: st.DataObject, status: ExitStatus) -> None:
        """A run ends: asked, killed, crashed or done."""
        self.world.end(data.draw(st.sampled_from(self.world.which(pid=True))), status)

    @precondition(lambda self: self.world.which(asked=True))
    @rule()
    def end_what_was_asked_to(self) -> None:
        """Whatever has been asked to end does."""
        for instance in self.world.which(asked=True):
            self.world.end(instance, ExitStatus(code=0))

    @precondition(lambda self: self.world.which(probe=True))
    @rule(data=st.data(), ok=st.booleans())
    def answer_probe(self, data: st.DataObject, ok: bool) -> None:
        """A probe has its answer."""
        instance = data.draw(st.sampled_from(self.world.which(probe=True)))
        self.world.answer_probe(instance, ok=ok)

    @precondition(lambda self: self.world.which(commanded=True))
    @rule(data=st.data(), ok=st.booleans())
    def answer_stop_command(self, data: st.DataObject, ok: bool) -> None:
        """A stop command ends."""
        instance = data.draw(st.sampled_from(self.world.which(commanded=True)))
        self.world.answer_stop_command(instance, ok=ok)

    @rule(late=st.sampled_from([0.0, 0.0, 0.001, 20.0]))
    def reach_deadline(self, late: float) -> None:
        """Time passes to the next deadline, or beyond it."""
        self.world.reach_deadline(late)

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
        self.world.tell(verb(data.draw(st.sampled_from(sorted(self.world.places)))))

    @rule()
    def say_what_is_over(self) -> None:
        """Nothing that is said of an instance that was removed has an effect."""
        world = self.world
        world.tell(Tick())
        for instance in self.gone - set(world.places):
            assert world.tell(StartRequested(instance)) == []
            assert world.tell(Spawned(instance, 1)) == []
            assert world.tell(Exited(instance, ExitStatus(code=1))) == []
            assert world.tell(ProbeFinished(instance, 1, ok=True, output="")) == []

    @rule(
        event=st.sampled_from([FleetStopRequested(), FleetKillRequested()]),
        really=st.integers(0, 19),
    )
    def stop_fleet(self, event: FleetStopRequested | FleetKillRequested, really: int) -> None:
        """Now and then the fleet is asked to go down."""
        if not really:
            self.world.tell(event)

    @rule()
    def be_kind(self) -> None:
        """Where nothing goes wrong any more, every update ends and the fleet is as it should be."""
        for _ in range(PATIENCE):
            if not self._help():
                break
        else:
            raise AssertionError(self.world.core.updates)
        if self.world.core.phase is Phase.UP:
            self._check_outcome()

    def _help(self) -> bool:
        """Let everything that can happen happen well; return whether anything did."""
        world = self.world
        if world.core.phase not in {Phase.UP, Phase.STOPPING}:
            return False
        spawning, probing = world.which(spawning=True), world.which(probe=True)
        ending = [
            i
            for i in world.which(pid=True)
            if world.places[i].asked or world.places[i].killed or self._is_job_at_work(i)
        ]
        for instance in spawning:
            world.answer_spawn(instance, permanent=False)
        for instance in probing:
            if instance in world.places and world.places[instance].probe is not None:
                world.answer_probe(instance, ok=True)
        for instance in ending:
            if world.places[instance].pid is not None:
                world.end(instance, ExitStatus(code=0))
        if spawning or probing or ending:
            return True
        moving = {State.BACKOFF, State.STOPPING}
        restless = any(place.state in moving for place in world.places.values())
        unwell = any(
            place.state is State.RUNNING and not world.ready(i) for i, place in world.places.items()
        )
        if restless or unwell or any(one.active for one in world.core.updates.values()):
            world.reach_deadline()
            return True
        return False

    def _is_job_at_work(self, instance: InstanceId) -> bool:
        job = self.world.core.made_of(instance).kind == "job"
        return job and self.world.places[instance].state is State.RUNNING

    def _check_outcome(self) -> None:
        world = self.world
        assert set(world.places) >= set(instances(world.fleet))
        left_alone = {UpdateResult.PAUSED, UpdateResult.ROLLED_BACK}
        for instance, place in world.places.items():
            update = world.core.updates.get(instance.container)
            if update is not None and update.result in left_alone:
                continue
            assert not world.is_extra(instance), "an additional replica was forgotten"
            wanted = world.fleet.containers[instance.container]
            made = world.core.made_of(instance)
            assert effect_between(made, wanted) is Effect.NOTHING
            if place.state is State.RUNNING:
                assert effect_between(place.made, wanted) is Effect.NOTHING
            if place.state is State.WAITING:
                assert not world.gates_open(instance)

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
        for _ in range(PATIENCE):
            if world.done is not None:
                break
            self._help()
            world.check()
        assert world.done is not None
        assert world.core.next_deadline() is None
        assert world.core.handle(FleetChanged(world.fleet), world.now) == []
